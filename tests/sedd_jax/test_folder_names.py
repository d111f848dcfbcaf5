"""Commands in folders whose names programs like to misread."""

import json

from sedd_jax import evaluate, sample, train
from sedd_jax.weights import export
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge import inspect
from tokenizer_bridge.token_dataset.records import TokenDataset

CONFIG = "from tests.sedd_jax.toy import toy_config as get_config\n"


NAME = "a [b] 'c' ü x\\y: \"50%\" 🎵*?"


def test_train_resume_evaluate_sample_and_export(tmp_path):
    place = tmp_path / NAME
    place.mkdir()
    (place / "toy.py").write_text(CONFIG)
    tokens, workdir = place / "tokens", place / "run"
    write_dataset(tokens)
    for steps in (10, 20):
        train.main([
            f"--config={place / 'toy.py'}", f"--tokens={tokens}", f"--workdir={workdir}",
            f"--config.training.num_steps={steps}",
        ])  # fmt: skip
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["10", "20"]
    evaluate.main([f"--workdir={workdir}", "--num_t=1"])
    assert json.loads((workdir / "evaluation_validation_20.json").read_text())["step"] == 20
    export.main([f"--workdir={workdir}", f"--output={place / 'model'}"])
    for source, new in ((workdir, "new"), (place / "model", "newer")):
        sample.main([
            f"--workdir={source}", f"--output={place / new}", "--num_samples=2", "--steps=2",
        ])  # fmt: skip
        assert TokenDataset(place / new).num_records("generated") == 2
    inspect.main([f"--tokens={place / 'new'}", f"--output={place / 'page'}"])
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
