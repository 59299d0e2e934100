"""Open a network from a reference: from the hub, a folder, a GGUF file or a package, or with random weights."""

import os

# Must be set before transformers is imported, which any module of this folder may do.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["USE_HUB_KERNELS"] = "0"  # if `kernels` is installed, transformers would download programs for some layers
