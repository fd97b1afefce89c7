"""The values that a setting with a choice may have."""

ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
POSITIONS = ("learned", "sinusoidal")
DTYPES = ("float32", "float64", "complex128")
IMPLEMENTATIONS = ("kernels", "reference")  # of the layers; the first is the default
GRADCHECK_METHODS = ("auto", "elements", "directions", "differences")
FORMATS = ("huggingface", "nanogpt", "gpt_numpy")  # of models in files
WINDOWS = ("full", "half")  # what a model sees of a text that is longer than its context
