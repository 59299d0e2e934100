"""What a job opens once and hands to all of its passes."""

from collections import Counter
from dataclasses import replace

import pytest
import transformers

from core.models import model
from core.registry.protocols import CONTROLS, PROTOCOLS
from core.runs.execution import run_submitted
from core.runs.jobs import submit
from tests.runs.small import SMALL

pytestmark = pytest.mark.slow


def test_a_job_with_its_controls_opens_the_description_of_its_model_once(config, warehouse, monkeypatch):
    opened = Counter()

    def counted(holder, name):
        really = getattr(holder, name)
        monkeypatch.setattr(holder, name, lambda *a, **k: (opened.update([name]), really(*a, **k))[1])

    counted(model, "check_files")
    counted(model, "read_config")
    counted(model, "read_tokenizer")
    counted(transformers.AutoModelForCausalLM, "from_config")
    warehouse.prepare()
    whole = replace(SMALL, n_control_seeds=2, passes=tuple(CONTROLS))
    monkeypatch.setitem(PROTOCOLS, SMALL.name, whole)
    job = submit(config, warehouse)
    finished = run_submitted(job, warehouse, lambda step: None)
    assert not finished["failed"]
    assert len(list(warehouse.parcels.iterdir())) == 7
    # A network without weights to look at, and one for the random control to be drawn into.
    assert opened == {"check_files": 1, "read_config": 1, "read_tokenizer": 1, "from_config": 2}
