"""SEDD-small on music tokens: the paper's training run.

    python -m sedd_jax.train --config=configs/music_small.py --tokens=TOKENS --workdir=RUN

128 windows of 1,024 tokens a step (14 s of music each at 75 tokens/s) for 150,000 steps: a job
for one host with 8 GPUs or TPU chips. A CPU can only try it out, with a small
`--config.training.batch_size`; configs/demo.py is the size for a CPU.
Memory: 99 M parameters, four fp32 copies in the train state (weights, two Adam moments, EMA).
Each device holds the state whole, so that the config fits any number of them. Split over 8 or 16 a
step is shorter: `--config.mesh.data=1 --config.mesh.fsdp=-1` on so many, and on more
`--config.mesh.fsdp=16`, or 8 where a host has 8 GPUs. launch/README.md says by how much, and
`compile_check --search` finds the mesh for other chips.
What to expect: the loss starts at log(4096) ≈ 8.3 nats a token and falls below the unigram entropy
of the data within the warm-up.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0

    config.data = data = ConfigDict()
    data.path = ""  # a token dataset: `python -m tokenizer_bridge.encode … --output=TOKENS`

    config.graph = graph = ConfigDict()
    graph.type = "absorbing"
    graph.num_codes = 0  # 0: all of the codec's; others are of imported weights

    config.noise = noise = ConfigDict()
    noise.type = "loglinear"
    noise.sigma_min = 1e-4  # of geometric noise only
    noise.sigma_max = 20.0

    config.loss = loss = ConfigDict()
    loss.type = "score_entropy"  # conditional, masked, mean: configs/README.md
    loss.times = "uniform"  # masked_share makes a difference to geometric noise alone

    config.model = model = ConfigDict()
    model.type = "diffusion"  # "autoregressive": the next token's, a baseline and a judge
    model.num_blocks = 12
    model.width = 768
    model.num_heads = 12
    model.cond_dim = 128
    model.length = 1024
    model.dropout = 0.1
    model.scale_by_sigma = True  # for the absorbing graph; the uniform one has no use for it
    model.compute_dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    model.residual_dtype = "float32"
    model.remat = "none"
    model.unroll = "auto"
    model.attention = "auto"

    config.optim = optim = ConfigDict()
    optim.learning_rate = 3e-4
    optim.warmup_steps = 2_500
    optim.b1 = 0.9
    optim.b2 = 0.999
    optim.eps = 1e-8
    optim.weight_decay = 0.0
    optim.clip_norm = 1.0
    optim.condition_rate = 10.0  # what tags and vectors are embedded with: see sedd_jax/state.py
    optim.trainable = ()  # e.g. ("condition", "adaLN"): only parameters with these in their path

    config.training = training = ConfigDict()
    training.batch_size = 128
    training.accumulation = 1
    training.num_steps = 150_000
    training.ema_decay = 0.9999
    # A share of the rows whose times are drawn from [high_noise_from, 1] alone: tags decide only
    # what is drawn while nearly all is masked, and few plain rows show that. Nothing is reweighted,
    # so with a share the training loss is a weighted bound; validation measures the bound itself.
    training.high_noise_share = 0.0
    training.high_noise_from = 0.9
    training.span_masks = 0.0
    training.max_consecutive_skips = 50
    training.log_every = 50

    config.distill = distill = ConfigDict()
    distill.steps = 0  # 0: ordinary training; else the model that the run starts from teaches
    distill.teacher_steps = 4
    distill.sampler = "spread"
    distill.divergence = "reverse"

    config.conditioning = conditioning = ConfigDict()
    conditioning.categories = ()  # e.g. ("genre", "instrument"): tags that steer the samples
    conditioning.vectors = ()  # e.g. ("clip",): of `encode --vectors=clip:FOLDER`, likewise
    conditioning.min_tracks = 10
    conditioning.drop_all = 0.1
    conditioning.drop_each = 0.1

    config.evaluation = evaluation = ConfigDict()
    evaluation.every = 2_500
    evaluation.num_batches = 8
    # 0: no samples while training. Where PyTorch is, a process of its own decodes them.
    evaluation.samples_every = 0
    evaluation.num_samples = 4
    evaluation.codec_dir = ""  # of a codec of one's own

    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every = 1_000
    checkpoint.keep_last = 3
    checkpoint.keep_every = 25_000
    checkpoint.keep_best = 1  # of lowest validation: sample, evaluate and export have --step=best
    checkpoint.retries = 6  # of a save that failed; with these waits, 10 minutes of them
    checkpoint.retry_wait = 10.0

    config.sampling = sampling = ConfigDict()
    sampling.sampler = "own"  # as suits the graph: spread, without a mask euler, the paper's
    sampling.schedule = "own"  # as suits the sampler: cosine for spread
    sampling.steps = 0  # as suit the sampler: 32 for spread, 128 for euler
    sampling.batch_size = 32

    config.monitoring = monitoring = ConfigDict()
    monitoring.writers = ("tensorboard",)  # beside metrics.jsonl; also csv and wandb

    config.metrics = metrics = ConfigDict()
    metrics.peak_tflops = 0.0  # dense bf16 TFLOP/s of a device, for MFU; 0: of a known device

    config.profile = profile = ConfigDict()
    profile.start_step = -1  # trace num_steps steps after this one; -1: only on `touch RUN/PROFILE`
    profile.num_steps = 5

    config.mesh = mesh = ConfigDict()
    mesh.data = -1  # devices of a slice along each axis; -1: all that are left
    mesh.fsdp = 1
    mesh.tensor = 1
    mesh.dcn = dcn = ConfigDict()
    dcn.data = -1  # slices along each axis
    dcn.fsdp = 1
    dcn.tensor = 1
    return config
