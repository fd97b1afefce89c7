"""The values allowed for settings that are a choice between a few."""

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "relu2", "swiglu")
NORMS = ("layernorm", "rmsnorm")
POSITIONS = ("learned", "sinusoidal", "rotary", "none")
NORM_PLACES = ("post", "pre")  # of a Transformer
RESIDUAL_STARTS, HEAD_STARTS = ("scaled", "zero"), ("normal", "zero")
DTYPES = ("float32", "float64", "bfloat16", "complex128")  # the last one for the reference
IMPLEMENTATIONS = ("kernels", "reference")  # of the layers; the first is the default
OPTIMIZERS = ("adamw", "muon")
SCHEDULES = ("cosine", "linear", "noam")  # of the learning rate after the warm-up
GRADCHECK_METHODS = ("auto", "elements", "directions", "differences")
EXPORT_DTYPES = ("float32", "bfloat16")  # of the numbers in a model file for others
FORMATS = ("huggingface", "nanogpt", "gpt_numpy")  # of model files
WINDOWS = ("full", "half")  # what the model sees of a text longer than its context
