"""Chat templates in the styles of well-known models, and files of conversations out of the project's own text."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import transformers

from tests.tiny import ROOT, save_tiny_model, train_tokenizer

CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|start|>system\nYou are a helpful model of the tests.<|end|>\n' }}"
    "{% endif %}{% for message in messages %}{{ '<|start|>' + message.role + '\n' + message.content + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
DATED = (
    "{{- bos_token }}{%- if strftime_now is defined %}{%- set today = strftime_now('%d %b %Y') %}{%- else %}"
    "{%- set today = 'no day' %}{%- endif %}"
    "{{- '<|header|>system<|ends|>\n\nToday Date: ' + today + '\n\n' }}"
    "{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] | trim }}{%- set messages = messages[1:] %}"
    "{%- endif %}{{- '<|end|>' }}{%- for message in messages %}"
    "{{- '<|header|>' + message['role'] + '<|ends|>\n\n' + message['content'] | trim + '<|end|>' }}{%- endfor %}"
)
ALTERNATING = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<|start|>' + role + '\n' + message['content'] | trim + '<|end|>\n' }}{% endfor %}"
)
INSTRUCTIONS = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}"
    "{%- for message in rest %}{%- if message['role'] == 'user' %}"
    "{%- if loop.first and system is defined %}{{- '[INST] ' + system + '\n\n' + message['content'] + ' [/INST]' }}"
    "{%- else %}{{- '[INST] ' + message['content'] + ' [/INST]' }}{%- endif %}"
    "{%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
TEMPLATES = {"chatml": CHATML, "dated": DATED, "alternating": ALTERNATING, "instructions": INSTRUCTIONS}
MARKERS = ["<|start|>", "<|end|>", "<|header|>", "<|ends|>"]


def chat_tokenizer(template: str | None, n_types: int = 2000) -> transformers.PreTrainedTokenizerFast:
    """The tiny models' tokenizer with markers of its own, of which only some have a named use, and a template."""
    tokenizer = copy.deepcopy(train_tokenizer(n_types))
    tokenizer.add_tokens(MARKERS, special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


def save_chat_model(folder: Path, template: str | None = CHATML, family: str = "llama", **changes) -> Path:
    """A tiny model whose tokenizer has a chat template; returns the folder."""
    save_tiny_model(folder, family, **{"vocab_size": 2000 + len(MARKERS)} | changes)
    chat_tokenizer(template).save_pretrained(folder)
    return folder


def write_chats(path: Path, system: bool = False, turns: int = 1) -> Path:
    """Conversations of so many turns out of the English corpus, where a paragraph answers its first sentence."""
    lines = [json.dumps({"id": i, "messages": chat}) for i, chat in enumerate(chats(system, turns))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def chats(system: bool = False, turns: int = 1) -> Iterator[list[dict]]:
    text = (ROOT / "data" / "corpora" / "english-business.txt").read_text(encoding="utf-8")
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if ". " in paragraph]
    for start in range(0, len(paragraphs) - turns + 1, turns):
        chat = [{"role": "system", "content": "Answer briefly."}] if system else []
        for paragraph in paragraphs[start : start + turns]:
            question, _, answer = paragraph.partition(". ")
            chat += [{"role": "user", "content": question + "."}, {"role": "assistant", "content": answer}]
        yield chat
