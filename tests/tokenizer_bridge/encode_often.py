"""The command `encode`, which stores at once what is done instead of every minute."""

from tokenizer_bridge import encode
from tokenizer_bridge.encoding import output
from tokenizer_bridge.token_dataset.command import run_command

if __name__ == "__main__":
    output.PUSH_EVERY_S = 0.001
    run_command(encode.main)
