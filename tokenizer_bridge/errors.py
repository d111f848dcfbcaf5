"""What every door here does with a mistake of the user: one clear line and exit code 1."""

import errno
import sys
from collections.abc import Callable

from absl import app

# EFBIG is what a file-size limit (`ulimit -f`) gives where a disk would give ENOSPC.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(Exception):
    """A mistake of the user's; its text is the one line that the door prints."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that no more can be written (disk, quota or file-size limit).

    ArrayRecord's C++ writer raises RuntimeError with the system's text instead of an OSError.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    texts = ("No space left on device", "Disk quota exceeded", "File too large")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def run_door(main: Callable[[list[str]], int | None]) -> None:
    """Run `main` under absl; a UserError is one line on stderr and exit code 1.

    So are a full disk and a file or directory that cannot be used. An interrupt (Ctrl-C) exits with
    130. Arguments that are no flags are refused.
    """

    def guarded(argv: list[str]) -> int:
        try:
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}: flags are written --name=value")
            return main(argv) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except (OSError, RuntimeError) as error:
            if is_disk_full(error):
                print(f"error: nothing more can be written: {error}", file=sys.stderr)
            elif getattr(error, "filename", None):
                print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
            else:
                raise
            return 1

    app.run(guarded)
