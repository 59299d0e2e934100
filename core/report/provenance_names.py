"""What every stored field of a run is called, section by section; the English name is the message of the catalogues."""

from __future__ import annotations


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


SECTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "run": (
        _("Run"),
        {
            "run_id": _("run"),
            "pass": _("pass"),
            "parent_run_id": _("control of the run"),
            "pilot_id": _("measured for the pilot"),
            "status": _("status"),
            "started_at": _("started (UTC)"),
            "finished_at": _("finished (UTC)"),
            "tags": _("tags"),
            "note": _("note"),
        },
    ),
    "model": (
        _("Model"),
        {
            "reference": _("model reference"),
            "revision": _("revision that was measured"),
            "model_id": _("model id"),
            "name": _("name"),
            "repository": _("repository on the hub"),
            "base_repository": _("base model"),
            "base_relation": _("made from it by"),
            "weights_sha256": _("hash of the weight files (SHA-256)"),
            "weight_format": _("format of the weight files"),
            "weight_bytes": _("size of the weight files"),
            "licence": _("licence"),
            "architecture": _("architecture"),
            "family": _("family"),
            "kind": _("kind"),
            "stack": _("blocks that were read"),
            "parameters": _("parameters"),
            "hidden_size": _("hidden size"),
            "n_layers": _("blocks"),
            "vocabulary_size": _("vocabulary (token types)"),
            "tokenizer_hash": _("hash of the tokenizer"),
            "configuration_hash": _("hash of the configuration"),
            "chat_template_hash": _("hash of the chat template"),
            "model_seed": _("seed of the random weights"),
        },
    ),
    "text": (
        _("Text"),
        {
            "corpus_id": _("text id"),
            "corpus_name": _("text"),
            "corpus_sha256": _("hash of the text (SHA-256)"),
            "corpus_n_documents": _("documents"),
            "corpus_n_characters": _("characters"),
            "corpus_language": _("language"),
            "corpus_domain": _("domain"),
            "corpus_licence": _("licence of the text"),
            "corpus_source": _("source of the text"),
        },
    ),
    "protocol": (
        _("Protocol"),
        {
            "protocol": _("protocol"),
            "protocol_hash": _("hash of the protocol"),
            "seed": _("seed of the draws"),
            "config.protocol.name": _("name at the time"),
            "config.protocol.version": _("version"),
            "config.protocol.algorithm": _("version of the algorithm"),
            "config.protocol.clouds": _("clouds"),
            "config.protocol.max_types": _("largest cloud, one per type (points)"),
            "config.protocol.max_tokens": _("largest cloud, all tokens (points)"),
            "config.protocol.norm_factor": _("limit of the norm (times the layer's median)"),
            "config.protocol.n_draws": _("draws that d2 is averaged over"),
            "config.protocol.n_blocks": _("blocks of the jackknife"),
            "config.protocol.n_half_splits": _("half-splits"),
            "config.protocol.n_surrogates": _("Gaussian surrogates per layer"),
            "config.protocol.passes": _("control passes"),
            "config.protocol.n_random_models": _("random models"),
            "config.protocol.more_seeds": _("further seeds"),
            "config.protocol.more_corpora": _("further texts"),
            "config.protocol.more_estimators": _("further estimators"),
            "config.protocol.source": _("publication"),
        },
    ),
    "tokens": (
        _("Tokens asked for, read and left out"),
        {
            "config.protocol.n_sequences": _("windows asked for"),
            "config.protocol.n_tokens": _("tokens asked for per window"),
            "n_sequences": _("windows read"),
            "n_tokens": _("tokens read"),
            "n_tokens_used": _("tokens used"),
            "n_types": _("token types among them"),
            "n_dropped_position": _("left out as first of a window"),
            "n_dropped_special": _("left out as special tokens"),
            "n_dropped_norm": _("left out for their norm"),
            "n_dropped_template": _("left out as the chat template's"),
            "max_norm_ratio": _("largest norm over the layer's median"),
            "words_hash": _("hash of the set of words"),
            "n_words": _("words in the set"),
            "n_words_lost": _("occurrences of words lost"),
            "n_bytes_scored": _("bytes that bits per byte rests on"),
            "bits_per_byte": _("bits per byte"),
        },
    ),
    "machine": (
        _("Machine, memory, time"),
        {
            "device": _("device"),
            "execution.device_name": _("name of the device"),
            "execution.threads": _("threads"),
            "dtype": _("number format"),
            "peak_memory_bytes": _("peak memory"),
            "execution.streamed": _("weights read block by block"),
            "execution.batch": _("windows at a time"),
            "execution.batch_planned": _("windows at a time, as planned"),
            "execution": _("how it was run"),
            "execution.layers_on_cpu": _("layers measured on the CPU for want of memory"),
        },
    ),
    "programs": (_("Programs"), {"code_version": _("version of Workdim")}),
    "request": (
        _("Request"),
        {
            "config.run.model": _("model as asked for"),
            "config.run.corpus": _("text as asked for"),
            "config.run.protocol": _("protocol as asked for"),
            "config.run.column": _("column"),
            "config.run.encoding": _("encoding"),
            "config.run.chat": _("chat messages read by"),
            "config.run.seed": _("seed as asked for"),
            "config.run.dtype": _("number format as asked for"),
            "config.run.device": _("device as asked for"),
            "config.run.stack": _("blocks as asked for"),
            "config.run.pass_": _("pass as asked for"),
            "config.run.model_seed": _("seed of random weights as asked for"),
            "config.run.companions": _("measured together with"),
            "config.run.memory_budget": _("memory budget"),
            "config.run.estimators": _("estimators asked for besides"),
            "config.run.controls": _("control passes asked for"),
            "config.run.keep_tokens": _("results of single tokens kept"),
        },
    ),
}
"""Section -> its title, and its fields in their order. Fields that no section names come in by `PREFIXES`."""

PREFIXES = {
    "config.protocol.": "protocol",
    "config.run.": "request",
    "config": "request",
    "execution": "machine",
    "phase_seconds": "machine",
    "library_versions": "programs",
}
"""Where a part of a JSON field stands that has no name of its own: an installation may have packages that we lack."""

NAMES = {field: name for _title, fields in SECTIONS.values() for field, name in fields.items()}
REASONS = {
    "pass": _("kind of pass"),
    "kind": _("kind of model"),
    "stack": _("part of the model"),
    "corpus_id": _("text"),
    "protocol_hash": _("protocol or seed"),
    "dtype": _("number format"),
    "tokenizer_hash": _("tokenizer"),
    "n_points": _("number of points"),
}
"""What may forbid to compare two runs."""
KINDS = {
    "pass": "pass",
    "kind": "kind",
    "stack": "stack",
    "corpus_language": "language",
    "corpus_domain": "domain",
    "base_relation": "relation",
}
"""Fields whose values have names of ours, and the kind that these names are of."""
BYTES = ("weight_bytes", "peak_memory_bytes", "config.run.memory_budget")
"""Fields that count bytes and are told in GB."""
