"""The keys of a config: what each means and which values it can have.

Everything that is said of a key anywhere follows from this table: what is checked, what stands for
it in configs saved before it existed, whether a run may be resumed with another value, the types of
`--config.group.key=value`, `--print_config`, and the JSON schema of config.json. What spans several
keys is checked in sedd_jax/config.py. Values are in configs/music_small.py.
"""

from sedd_jax.config_key import Key
from sedd_jax.diffusion.choices import (
    DIVERGENCES,
    MAX_SIGMA,
    OWN,
    PARAMETRISATIONS,
    SAMPLERS,
    STEP_SCHEDULES,
    STUDENT_SAMPLERS,
    TIMES,
)
from sedd_jax.network.choices import IMPLEMENTATIONS, MODEL_TYPES, REMAT, UNROLL

KEYS: dict[str, Key] = {
    "seed": Key(int, "Seed of parameters, data order, noise and dropout.", low=0),
    # The data set itself is compared on resuming, so its folder may have moved.
    "data.path": Key(str, "Token dataset to train on.", resumable=True),
    "graph.type": Key(
        str,
        "Where noise takes a token: to the mask, or to any.",
        choices=("absorbing", "uniform"),
        fixed=True,
    ),
    "graph.num_codes": Key(
        int,
        "Codes that the model knows, the codec's first; 0: all of them. Absorbing graph only.",
        low=0,
        default_of_older_runs=0,
        fixed=True,
    ),
    "noise.type": Key(str, "How noise grows with time.", choices=("loglinear", "geometric")),
    "noise.sigma_min": Key(float, "Total noise at time 0 of geometric noise.", low=0.0),
    "noise.sigma_max": Key(
        float, "Total noise at time 1 of geometric noise.", low=0.0, high=MAX_SIGMA
    ),
    "loss.type": Key(
        str,
        "Parametrisation: what the network's output stands for, and the loss that goes with it.",
        choices=tuple(PARAMETRISATIONS),
        default_of_older_runs="score_entropy",
        fixed=True,
    ),
    "loss.times": Key(
        str,
        "What training draws evenly: times, or shares that are masked, of geometric noise.",
        choices=TIMES,
        default_of_older_runs="uniform",
    ),
    "model.type": Key(
        str,
        "Whether tokens turn up at any place, from noise, or one after another.",
        choices=MODEL_TYPES,
        default_of_older_runs="diffusion",
        fixed=True,
    ),
    "model.num_blocks": Key(int, "Transformer blocks.", low=1, fixed=True),
    "model.width": Key(int, "Width of the residual stream.", low=2, fixed=True),
    "model.num_heads": Key(
        int, "Attention heads; they divide the width evenly.", low=1, fixed=True
    ),
    "model.cond_dim": Key(int, "Width of the embedded noise level.", low=1, fixed=True),
    "model.length": Key(int, "Tokens of a training window.", low=1),
    "model.dropout": Key(float, "Share of activations dropped in training.", low=0.0, high=0.99),
    "model.scale_by_sigma": Key(
        bool, "Offset log-scores by the noise level; absorbing graph only.", fixed=True
    ),
    "model.compute_dtype": Key(
        str,
        "Of block activations; auto: float32 on CPU, bfloat16 on accelerators.",
        choices=("auto", "float32", "bfloat16"),
    ),
    "model.residual_dtype": Key(
        str,
        "Of the residual stream between blocks, whose sums are in float32.",
        choices=("float32", "bfloat16"),
        default_of_older_runs="float32",
    ),
    "model.remat": Key(
        str, "What the backward pass computes anew.", choices=tuple(REMAT), resumable=True
    ),
    "model.unroll": Key(
        str,
        "Blocks one by one instead of in a loop; auto: on GPUs where remat is none.",
        choices=UNROLL,
        default_of_older_runs="off",
        resumable=True,
    ),
    "model.attention": Key(
        str, "Implementation of attention.", choices=IMPLEMENTATIONS, resumable=True
    ),
    "optim.learning_rate": Key(float, "Adam's learning rate after the warm-up.", low=0.0),
    "optim.warmup_steps": Key(int, "Steps over which the learning rate rises from 0.", low=0),
    "optim.b1": Key(float, "Adam's decay of the mean.", low=0.0, high=0.999999),
    "optim.b2": Key(float, "Adam's decay of the variance.", low=0.0, high=0.999999),
    "optim.eps": Key(float, "Adam's epsilon.", low=0.0),
    "optim.weight_decay": Key(float, "Decoupled weight decay.", low=0.0),
    "optim.clip_norm": Key(float, "Global gradient norm to clip at; 0 or less: no clipping."),
    "optim.condition_rate": Key(
        float,
        "Learning rate of what conditions are embedded with, times optim.learning_rate.",
        low=0.0,
        default_of_older_runs=1.0,
    ),
    "optim.trainable": Key(
        tuple,
        "Parts of parameters' paths, as blocks/adaLN/kernel: only these train; none: all.",
        default_of_older_runs=(),
        fixed=True,
    ),
    "training.batch_size": Key(int, "Rows a step, over all devices and microbatches.", low=1),
    "training.accumulation": Key(int, "Microbatches a step.", low=1, resumable=True),
    "training.num_steps": Key(int, "Optimizer updates.", low=1, resumable=True),
    "training.ema_decay": Key(
        float, "Decay of the averaged weights, which are sampled from.", low=0.0, high=1.0
    ),
    "training.high_noise_share": Key(
        float,
        "Share of a batch's rows whose times come from high noise alone; not reweighted.",
        low=0.0,
        high=1.0,
        default_of_older_runs=0.0,
    ),
    "training.high_noise_from": Key(
        float,
        "Time from which on, up to 1, those rows' times are.",
        low=1e-3,
        high=0.999,
        default_of_older_runs=0.9,
    ),
    "training.span_masks": Key(
        float,
        "Share of rows whose masks lie in spans, as gaps to be filled in do; absorbing graph.",
        low=0.0,
        high=1.0,
        default_of_older_runs=0.0,
    ),
    "training.max_consecutive_skips": Key(
        int, "Steps in a row that are not finite until the run stops.", low=1, resumable=True
    ),
    "training.log_every": Key(int, "Steps between two reports.", low=1, resumable=True),
    # The weights of a run that distils have those of its teacher beside them.
    "distill.steps": Key(
        int,
        "Steps from noise to data in which the run learns to sample as the model that it starts "
        "from does in more; absorbing graph; 0: ordinary training.",
        low=0,
        high=10_000,
        default_of_older_runs=0,
        fixed=True,
    ),
    "distill.teacher_steps": Key(
        int,
        "Steps that this model, the teacher, takes for each of them.",
        low=2,
        high=1_000,
        default_of_older_runs=4,
    ),
    "distill.sampler": Key(
        str,
        "Whose masks and order both see.",
        choices=STUDENT_SAMPLERS,
        default_of_older_runs="spread",
    ),
    "distill.divergence": Key(
        str,
        "Of what student and teacher say: KL(student || teacher), or the other way round.",
        choices=DIVERGENCES,
        default_of_older_runs="reverse",
    ),
    "conditioning.categories": Key(
        tuple, "Categories of tags that the model is told.", default_of_older_runs=(), fixed=True
    ),
    "conditioning.vectors": Key(
        tuple,
        "Kinds of vectors that the model is told; neither these nor tags: unconditional.",
        default_of_older_runs=(),
        fixed=True,
    ),
    "conditioning.min_tracks": Key(
        int,
        "Tracks of the training split that a tag needs.",
        low=1,
        default_of_older_runs=10,
        fixed=True,
    ),
    "conditioning.drop_all": Key(
        float,
        "Share of rows that training leaves without any tag or vector.",
        low=0.0,
        high=1.0,
        default_of_older_runs=0.1,
    ),
    "conditioning.drop_each": Key(
        float,
        "Share of the other rows' tags and vectors that it leaves out.",
        low=0.0,
        high=1.0,
        default_of_older_runs=0.1,
    ),
    "evaluation.every": Key(int, "Steps between two validations; 0: none.", low=0, resumable=True),
    "evaluation.num_batches": Key(
        int, "Batches of training.batch_size a validation.", low=1, resumable=True
    ),
    "evaluation.samples_every": Key(
        int,
        "Steps between two sets of samples to see and hear, kept in RUN/samples; 0: none.",
        low=0,
        default_of_older_runs=0,
        resumable=True,
    ),
    "evaluation.num_samples": Key(
        int, "Samples of such a set.", low=1, high=64, default_of_older_runs=4, resumable=True
    ),
    "evaluation.codec_dir": Key(
        str,
        "Folder of the codec that decodes them, as of one's own; empty: its name says which.",
        default_of_older_runs="",
        resumable=True,
    ),
    "checkpoint.every": Key(int, "Steps between two checkpoints.", low=1, resumable=True),
    "checkpoint.keep_last": Key(int, "Newest checkpoints that are kept.", low=1, resumable=True),
    "checkpoint.keep_every": Key(
        int, "Checkpoints of multiples of this step are kept; 0: none.", low=0, resumable=True
    ),
    "checkpoint.keep_best": Key(
        int,
        "Checkpoints of lowest validation that are kept, and saved for it; 0: none.",
        low=0,
        default_of_older_runs=1,
        resumable=True,
    ),
    "checkpoint.retries": Key(
        int,
        "Tries to repeat a save that failed until the run gives up.",
        low=0,
        default_of_older_runs=6,
        resumable=True,
    ),
    "checkpoint.retry_wait": Key(
        float,
        "Seconds to the first such try, twice as many to each further one.",
        low=0.0,
        default_of_older_runs=10.0,
        resumable=True,
    ),
    "sampling.sampler": Key(
        str,
        "How a step is taken, by default; own: as suits the graph.",
        choices=(OWN, *SAMPLERS),
        resumable=True,
    ),
    "sampling.schedule": Key(
        str,
        "How much each step draws, by default; own: as suits the sampler.",
        choices=(OWN, *STEP_SCHEDULES),
        default_of_older_runs=OWN,
        resumable=True,
    ),
    "sampling.steps": Key(
        int,
        "Steps from noise to data, by default; 0: as many as suit the sampler.",
        low=0,
        resumable=True,
    ),
    "sampling.batch_size": Key(int, "Samples at a time, by default.", low=1, resumable=True),
    "monitoring.writers": Key(
        tuple,
        "Where figures go beside metrics.jsonl.",
        choices=("tensorboard", "csv", "wandb"),
        default_of_older_runs=("tensorboard",),
        resumable=True,
    ),
    "metrics.peak_tflops": Key(
        float,
        "Dense bf16 TFLOP/s of a device, for MFU; 0: of a device that is known.",
        low=0.0,
        default_of_older_runs=0.0,
        resumable=True,
    ),
    "profile.start_step": Key(
        int,
        "Step after which a trace begins; -1: only when asked for.",
        low=-1,
        default_of_older_runs=-1,
        resumable=True,
    ),
    "profile.num_steps": Key(
        int, "Steps of a trace.", low=1, default_of_older_runs=5, resumable=True
    ),
    "mesh.data": Key(
        int, "Devices of a slice along the batch; -1: all that are left.", low=-1, resumable=True
    ),
    "mesh.fsdp": Key(
        int, "Devices of a slice that share the train state; -1: as above.", low=-1, resumable=True
    ),
    "mesh.tensor": Key(
        int, "Devices of a slice that split each block; -1: as above.", low=-1, resumable=True
    ),
    "mesh.dcn.data": Key(
        int,
        "Slices along the batch; -1: all that are left.",
        low=-1,
        default_of_older_runs=-1,
        resumable=True,
    ),
    "mesh.dcn.fsdp": Key(
        int,
        "Slices that share the train state; -1: as above.",
        low=-1,
        default_of_older_runs=1,
        resumable=True,
    ),
    "mesh.dcn.tensor": Key(
        int,
        "Slices that split each block; -1: as above.",
        low=-1,
        default_of_older_runs=1,
        resumable=True,
    ),
}
