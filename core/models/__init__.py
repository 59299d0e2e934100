"""A reference becomes an opened network: from the hub, a folder, a GGUF file or a package, or with random weights."""

import os

# Before transformers is imported, which any module of this folder may do.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["USE_HUB_KERNELS"] = "0"  # programs that it would fetch for some layers, where `kernels` is installed
