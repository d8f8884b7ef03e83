"""The words that options offer and the library knows, each list in one place. No torch here.

A registry whose keys are such words (codes, augmentations, grids) is held to them by a test.
"""

STORAGES = ("dense", "csr", "auto")
LOSS_UNITS = {"cross-entropy": "nats", "mse": "mse", "bce": "nats"}
LOSSES = tuple(LOSS_UNITS)

# Networks
CONNECTIVITIES = ("fc", "local")
EMBEDDED_NORMS = ("units", "channels", "folded")
SUBSPACE_PARTS = ("conv", "unshared-local", "off-local")

# Training
AUGMENTATIONS = (
    "none",
    "crop-flip",
    "autoaugment",
    "rand-augment",
    "trivial-augment",
    "fast-autoaugment",
)
OPTIMIZERS = ("sgd", "beta-lasso")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("fp32", "bf16", "fp16", "fp64")
LR_MATCHES = ("none", "orbit")
PIXEL_NORMALIZATIONS = ("channel", "none")
WHEN = ("auto", "always", "never")
LCN_METHODS = ("descent", "flow")

# Conversion
CONVERTED_WEIGHTS = ("effective", "stored")

# Pruning
PRUNE_SCOPES = ("global", "layer")

# Paths
PATH_METHODS = ("linear", "string", "output", "curvilinear")
PATH_NORMS = ("reestimate", "keep")
SPRINGS = ("implicit", "explicit")
OUTPUT_AVERAGES = ("logits", "probabilities")

# Energy profiles
THEORIES = ("linear-gd", "optimal", "random-labels", "patches")
PROFILE_SCALES = ("none", "filters", "profile")
PATCH_PIXELS = ("raw", "channel")
LINEAR_LOSSES = ("mean", "sum", "half-mean", "half-sum")

# Description lengths
CODES = ("paper", "comb", "structured", "entropy")
GRIDS = ("uniform", "kmeans")
DESCRIBED_NORMS = ("fold", "count")
