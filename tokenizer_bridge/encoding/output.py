"""The place where an encoding puts its data set: a directory of this machine, or an object store.

In an object store, where files cannot grow, what the workers of a machine add to their logs goes
into a new file every PUSH_EVERY_S seconds:

    OUTPUT/unfinished/settings.json           as on a disk
    OUTPUT/unfinished/5f0c…e1-000007.log      whole frames (progress_log.py) that are new

The encoding goes on after these on whatever machine it is started next. dataset.json comes last
there, too, and what is unfinished goes after it.
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator

from tokenizer_bridge.encoding import job as jobs
from tokenizer_bridge.encoding.job import FAILURES_FILE, MODEL_FILES, EncodeJob
from tokenizer_bridge.encoding.progress_log import SETTINGS_FILE, frames_after, settings_agree
from tokenizer_bridge.encoding.unfinished import discard
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.mirrors import Folder, Mirror
from tokenizer_bridge.token_dataset.paths import is_url
from tokenizer_bridge.token_dataset.records import DATASET_FILE, TokenDataset

PUSH_EVERY_S = 60.0
PATIENCE_S = 900.0  # so long a store may refuse before the encoding ends
_SEGMENT_BYTES = 2**26
_UNFINISHED = "unfinished"


class Output:
    """A directory of this machine. folder: where the data set is made."""

    def __init__(self, folder: Folder):
        self.folder = folder

    def fetch(self) -> None:
        """Gets what is there already. Raises UserError for a model."""

    def begin(self, job: EncodeJob) -> None:
        """Announces a job whose directory is prepared."""

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Keeps what workers do meanwhile."""
        yield

    def check(self) -> None:
        """Raises UserError when nothing could be kept for a long time."""

    def assemble(self, job: EncodeJob) -> TokenDataset | None:
        """Assembles the data set, as `job.assemble` does."""
        return jobs.assemble(job)

    def tidy(self, job: EncodeJob) -> None:
        """Removes what the end of a job that was killed has left beside its whole data set."""
        discard(job.unfinished, job.all_settings)


class StoredOutput(Output):
    """A folder in an object store. Its methods raise UserError for what the store refuses."""

    def __init__(self, mirror: Mirror):
        super().__init__(mirror)
        self._mirror, self._bucket = mirror, mirror.bucket
        self._own, self._num_segments = uuid.uuid4().hex, 0
        self._ends: dict[str, int] = {}  # log → so many of its bytes are there
        self._lock = threading.Lock()
        self._refused_since: float | None = None
        self._refusal: UserError | None = None

    def fetch(self) -> None:
        """Gets what is there already. Raises UserError for a model."""
        names = self._bucket.names()
        for model in MODEL_FILES:
            if any(name == model or name.startswith(f"{model}/") for name in names):
                raise UserError(
                    f"{self.folder.place} holds a model ({model}): choose another directory"
                )
        if DATASET_FILE in names:
            self._mirror.fetch([*_shards(names), *({FAILURES_FILE} & {*names}), DATASET_FILE])
        self._fetch_unfinished()

    def begin(self, job: EncodeJob) -> None:
        """Announces a job whose directory is prepared.

        Raises UserError when another machine has begun one of other settings meanwhile.
        """
        settings = job.unfinished / SETTINGS_FILE
        self._mirror.upload([settings])
        self.push_logs()
        self._mirror.upload(job.unfinished.glob("*.json"))
        self._require_same(job)

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Keeps what workers do meanwhile, and at the end, however it comes."""
        ended = threading.Event()

        def push_now_and_then() -> None:
            while not ended.wait(PUSH_EVERY_S):
                try:
                    self.push_logs()
                    self._refused_since = None
                except UserError as error:
                    self._refusal = error
                    self._refused_since = self._refused_since or time.monotonic()

        thread = threading.Thread(target=push_now_and_then, name="store", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            with contextlib.suppress(UserError):
                self.push_logs()
            raise
        finally:
            ended.set()
            thread.join()
        self.push_logs()

    def check(self) -> None:
        """Raises UserError when nothing could be kept for PATIENCE_S seconds."""
        since = self._refused_since
        if since is not None and time.monotonic() - since > PATIENCE_S:
            raise UserError(f"nothing could be stored for {PATIENCE_S:g} s: {self._refusal}")

    def push_logs(self) -> None:
        """Copies the frames that are new in the logs here."""
        with self._lock:
            segment, ends = bytearray(), dict(self._ends)
            for path in sorted((self.folder.path / _UNFINISHED).glob("*.log")):
                for end, frame in frames_after(path, ends.get(path.name, 0)):
                    segment += frame
                    ends[path.name] = end
                    if len(segment) >= _SEGMENT_BYTES:
                        self._write(segment, ends)
                        segment = bytearray()
            if segment:
                self._write(segment, ends)

    def _write(self, segment: bytearray, ends: dict[str, int]) -> None:
        name = f"{_UNFINISHED}/{self._own}-{self._num_segments:06d}.log"
        self._bucket.write(name, bytes(segment))
        self._num_segments += 1
        self._ends = dict(ends)

    def assemble(self, job: EncodeJob) -> TokenDataset | None:
        """Assembles what all machines have done, as `job.assemble` does, and stores it."""
        self._fetch_unfinished()
        self._require_same(job)
        try:
            dataset = jobs.assemble(job)
        except UserError:
            if not job.unfinished.exists():  # of no file that could be used
                self._mirror.upload([job.output / FAILURES_FILE])
                self._clear()
            raise
        if dataset is not None:
            self._store(job)
        return dataset

    def _store(self, job: EncodeJob) -> None:
        """Puts the data set in place, unless another machine, done at the same time, has."""
        try:
            there = self._bucket.read(DATASET_FILE)
        except FileNotFoundError:
            there = None
        description = job.output / DATASET_FILE
        if there != description.read_bytes():
            if there is not None:
                self._mirror.remove([DATASET_FILE])
            self._mirror.upload(path for path in job.output.iterdir() if path != description)
            self._mirror.upload([description])
            here = {path.name for path in job.output.iterdir()}
            self._mirror.remove(
                [name for name in _shards(self._bucket.names()) if name not in here]
            )
        self._clear()

    def tidy(self, job: EncodeJob) -> None:
        """Removes what the end of a job that was killed has left beside its whole data set."""
        if (job.unfinished / SETTINGS_FILE).exists():
            with contextlib.suppress(UserError):  # it is another one's, that is at work
                settings_agree(job.unfinished, job.all_settings)
                self._clear()

    def _clear(self) -> None:
        """Removes what is unfinished; its settings last, which say what the logs are of."""
        names = self._bucket.names(_UNFINISHED)
        self._bucket.remove(sorted(names, key=lambda name: name.endswith(SETTINGS_FILE)))

    def _fetch_unfinished(self) -> None:
        """Gets what is unfinished there and not here."""
        names = [
            name
            for name in self._bucket.names(_UNFINISHED)
            if not name.startswith(f"{_UNFINISHED}/{self._own}")
            and not (self.folder.path / name).exists()
        ]
        try:
            self._mirror.fetch(names)
        except FileNotFoundError as error:
            raise UserError(
                f"{self.folder.place}: another machine has just finished; run the same command "
                "again to see that all is there"
            ) from error
        for name in names:
            self._ends[os.path.basename(name)] = (self.folder.path / name).stat().st_size

    def _require_same(self, job: EncodeJob) -> None:
        """Raises UserError unless the settings there are those of the job."""
        try:
            there = self._bucket.read(f"{_UNFINISHED}/{SETTINGS_FILE}")
        except FileNotFoundError:  # another machine has finished
            return
        if there != (job.unfinished / SETTINGS_FILE).read_bytes():
            raise UserError(
                f"{self.folder.place} is being made with other settings by another machine: choose "
                "another place"
            )


def _shards(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".array_record") and "/" not in name]


def output_at(place: str | os.PathLike) -> Output:
    """The output at a path or a URL. Raises UserError."""
    if is_url(place):
        return StoredOutput(Mirror(os.fspath(place)))
    return Output(Folder(place))
