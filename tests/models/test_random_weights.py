"""The random control: drawn unit by unit, the same whether at once or on demand, from the initialiser it should be."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import InputError, ModelError, ResourceError
from core.measure.plan import capture
from core.models.hub import find_weights
from core.models.model import read_blueprint
from core.models.random_weights import _WeightDrawer, draw_network, load_with_random_blocks
from core.models.stacks import all_stacks
from tests.tiny import SIZES, open_model, save_tiny_model

pytestmark = pytest.mark.slow

OF_EACH_MAKE = [(family, None) for family in ("llama", "gemma3_text", "gpt2", "mixtral", "mamba", "bert", "t5")]
OF_EACH_MAKE += [("t5", "decoder"), ("bart", "decoder")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return lambda family: root / family if (root / family).exists() else save_tiny_model(root / family, family)


def found(folder):
    return find_weights(str(folder))


def drawn(folder, seed=0, dtype="float32", stack=None, **options):
    return draw_network(read_blueprint(found(folder), dtype, "cpu", stack), seed, **options)


def tensors(module) -> dict[str, torch.Tensor]:
    return dict([*module.named_parameters(), *module.named_buffers()])


def last_states(model, tmp_path):
    ids = np.random.default_rng(0).integers(3, 2000, (10, 24))
    sample = SimpleNamespace(ids=ids, template=np.zeros_like(ids, dtype=bool), n_bytes_scored=100)
    states = capture(model, sample, tmp_path, lambda step: None)
    return np.array(states.states)


@pytest.mark.parametrize("family, stack", OF_EACH_MAKE)
def test_blocks_on_demand_give_the_states_of_blocks_at_once_bit_for_bit(family, stack, folders, tmp_path):
    at_once = last_states(drawn(folders(family), seed=5, stack=stack), tmp_path)
    on_demand = last_states(drawn(folders(family), seed=5, stack=stack, on_demand=True), tmp_path)
    assert np.array_equal(at_once, on_demand)


@pytest.mark.parametrize("family", SIZES)
def test_a_control_has_the_row_the_buffers_and_the_dtypes_of_the_real_model(family, folders):
    of_several = family in ("llama", "t5", "mamba2")  # some of whose weights stay in float32
    for dtype in ("float32", "bfloat16", "float16") if of_several else ("bfloat16",):
        real = open_model(found(folders(family)), dtype, "cpu")
        control = drawn(folders(family), dtype=dtype)
        assert control.row == real.row
        assert (control.stack, control.is_causal, control.context) == (real.stack, real.is_causal, real.context)
        ours, theirs = tensors(control.module), tensors(real.module)
        assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {k: (v.shape, v.dtype) for k, v in theirs.items()}
        for name, buffer in real.module.named_buffers():
            assert torch.equal(ours[name], buffer), name
        assert not control.module.training and not any(p.requires_grad for p in control.module.parameters())


@pytest.mark.parametrize("family", SIZES)
def test_weights_are_spread_as_the_initialiser_spreads_them(family, folders):
    """save_tiny_model's own weights come from transformers, drawn all together."""
    real = open_model(found(folders(family)), device="cpu").module
    control = drawn(folders(family), seed=1).module
    for name, parameter in real.named_parameters():
        theirs, ours = parameter.detach().float(), control.get_parameter(name).float()
        spread = float(theirs.std(correction=0))
        if spread == 0 or name.endswith("A_log"):  # not drawn: constants, and the state matrix of Mamba
            assert torch.equal(ours, theirs), name
        elif ours.numel() >= 100:
            assert float(ours.std()) == pytest.approx(spread, rel=0.35), name
            assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=0.35 * spread), name
            assert not torch.equal(ours, theirs), name


def test_gpt2_scales_what_it_adds_to_the_stream(folders):
    block = drawn(folders("gpt2")).layers[0]
    assert float(block.mlp.c_proj.weight.std()) == pytest.approx(0.02 / math.sqrt(2 * 3), rel=0.05)
    assert float(block.mlp.c_fc.weight.std()) == pytest.approx(0.02, rel=0.05)


def test_embedding_and_head_are_not_both_there_in_float32(folders, monkeypatch):
    fill, filled = _WeightDrawer._fill, []

    def watched(self, units):
        places = fill(self, units)
        filled.append({place.path for place in places})
        return places

    monkeypatch.setattr(_WeightDrawer, "_fill", watched)
    drawn(folders("llama"), dtype="bfloat16", on_demand=True)
    assert filled[:2] == [{"model.embed_tokens.weight"}, {"lm_head.weight"}]


@pytest.mark.parametrize("written", ["redrawn", "given"])
def test_what_a_module_around_an_embedding_writes_into_it_is_written_in_float32(folders, monkeypatch, written):
    from transformers import LlamaPreTrainedModel

    initialise = LlamaPreTrainedModel._init_weights

    def reaching(self, module):
        if not (isinstance(module, torch.nn.Embedding) and written == "given"):
            initialise(self, module)
        if hasattr(module, "embed_tokens"):
            module.embed_tokens.weight.normal_(std=0.5)

    monkeypatch.setattr(LlamaPreTrainedModel, "_init_weights", reaching)
    half, whole = (
        drawn(folders("llama"), dtype=dtype).module.model.embed_tokens.weight for dtype in ("bfloat16", "float32")
    )
    assert 0.4 < whole.std() < 0.6 and torch.equal(half, whole.to(torch.bfloat16))


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "t5", "bart"])
def test_tied_weights_stay_one_tensor(family, folders):
    control = drawn(folders(family)).module
    assert control.get_output_embeddings().weight is control.get_input_embeddings().weight


def test_a_unit_depends_on_the_seed_and_its_name_alone(tmp_path):
    shallow = drawn(save_tiny_model(tmp_path / "a", num_hidden_layers=2), seed=3)
    deep = drawn(save_tiny_model(tmp_path / "b", num_hidden_layers=5, tie_word_embeddings=True), seed=3)
    other = drawn(save_tiny_model(tmp_path / "c", num_hidden_layers=2), seed=4)
    for name, parameter in shallow.module.named_parameters():
        if parameter.std() > 0 and name != "lm_head.weight":
            assert torch.equal(parameter, deep.module.get_parameter(name)), name
            assert not torch.equal(parameter, other.module.get_parameter(name)), name
    first, second = (shallow.layers[i].mlp.up_proj.weight for i in (0, 1))
    assert not torch.equal(first, second)


def test_drawing_leaves_the_generator_of_others_alone(folders):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn(folders("llama"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_on_demand_never_holds_more_than_one_block(family, folders, tmp_path):
    control = drawn(folders(family), on_demand=True)
    n_elements = lambda module: sum(p.numel() for p in module.parameters() if p.device.type != "meta")  # noqa: E731
    outside = n_elements(control.module)
    held = []
    for block in control.layers:
        block.register_forward_hook(lambda _m, _a, _o: held.append(n_elements(control.module) - outside), prepend=True)
    last_states(control, tmp_path)
    one_block = max(sum(p.numel() for p in block.parameters()) for block in control.layers)
    assert len(held) == 2 * len(control.layers) and 0 < max(held) <= one_block
    assert n_elements(control.module) == outside < control.row.parameters


def test_a_block_is_dropped_even_when_it_fails(folders, tmp_path):
    control = drawn(folders("llama"), on_demand=True)
    control.layers[1].mlp.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        last_states(control, tmp_path)
    assert all(p.device.type == "meta" for p in control.layers[1].parameters())


def test_a_block_that_does_not_fit_is_drawn_again_for_a_smaller_batch(folders, tmp_path, monkeypatch):
    expected = last_states(drawn(folders("llama"), seed=5), tmp_path)
    control = drawn(folders("llama"), seed=5, on_demand=True)
    finish, failures = _WeightDrawer._finished, []

    def fails_once(self, place, tensor):
        if "layers.2.mlp" in place.path and not failures:
            failures.append(place.path)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return finish(self, place, tensor)

    monkeypatch.setattr(_WeightDrawer, "_finished", fails_once)
    assert np.allclose(last_states(control, tmp_path), expected, atol=1e-5)
    assert failures and all(p.device.type == "meta" for p in control.layers[2].parameters())


def test_the_weights_are_never_read(tmp_path, monkeypatch):
    folder = save_tiny_model(tmp_path / "tiny")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: torch.full_like(w, float("nan")) for name, w in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert np.isfinite(last_states(drawn(folder), tmp_path)).all()


def test_a_random_model_knows_nothing(tiny_llama, tmp_path):
    from core.registry.protocols import PROTOCOLS
    from core.texts.corpora import open_corpus
    from core.texts.sample import draw_sample

    control = draw_network(read_blueprint(found(tiny_llama), "float32", "cpu", None), 0)
    sample = draw_sample(open_corpus("english-business"), control.tokenizer, PROTOCOLS["quick"], seed=0)
    bits = capture(control, sample, tmp_path, lambda step: None).bits_per_byte
    n_targets = sample.ids.shape[0] * (sample.ids.shape[1] - 1)
    assert bits == pytest.approx(math.log2(control.vocabulary_size) * n_targets / sample.n_bytes_scored, rel=0.05)


def test_a_tensor_that_no_initialiser_sets_is_an_error(folders, monkeypatch):
    from transformers import LlamaPreTrainedModel

    monkeypatch.setattr(LlamaPreTrainedModel, "_init_weights", lambda self, module: None)
    with pytest.raises(ModelError, match="llama has no random control: its initialiser leaves gaps"):
        drawn(folders("llama"))


@pytest.mark.parametrize(
    "error", [TypeError("unsupported operand\nand more"), RuntimeError("a 1-D tensor"), KeyError()]
)
def test_whatever_a_foreign_initialiser_raises_is_one_line(folders, monkeypatch, error):
    from transformers import LlamaPreTrainedModel

    def fail(self, module):
        raise error

    monkeypatch.setattr(LlamaPreTrainedModel, "_init_weights", fail)
    with pytest.raises(ModelError, match=rf"llama has no random control: {type(error).__name__}") as told:
        drawn(folders("llama"))
    assert "\n" not in str(told.value)


def test_weights_that_do_not_fit_say_what_to_do(folders, monkeypatch):
    from transformers import LlamaPreTrainedModel

    def fail(self, module):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(LlamaPreTrainedModel, "_init_weights", fail)
    with pytest.raises(
        ResourceError, match=r"llama does not fit into the memory of cpu\. Try --dtype bfloat16, a smaller"
    ):
        drawn(folders("llama"))


def test_what_open_model_refuses_is_refused(folders):
    with pytest.raises(InputError, match="has one stack of blocks"):
        drawn(folders("llama"), stack="decoder")
    with pytest.raises(InputError, match="Unknown dtype"):
        drawn(folders("llama"), dtype="float33")


def changed(folder, seed=0, dtype="float32", stack=None, **options):
    return load_with_random_blocks(read_blueprint(found(folder), dtype, "cpu", stack), seed, **options)


@pytest.mark.parametrize("family, stack", OF_EACH_MAKE[:-1])
def test_a_control_with_the_trained_embedding_is_the_same_loaded_and_streamed(family, stack, folders, tmp_path):
    for name in ("a", "b", "scratch"):
        (tmp_path / name).mkdir()
    at_once = changed(folders(family), 5, stack=stack)
    on_demand = changed(folders(family), 5, stack=stack, scratch=tmp_path / "scratch")
    assert len(on_demand.units) > len(on_demand.layers)
    assert np.array_equal(last_states(at_once, tmp_path / "a"), last_states(on_demand, tmp_path / "b"))
    assert all(p.device.type == "meta" for p in on_demand.layers[0].parameters())


@pytest.mark.parametrize("family", [family for family, _stack in OF_EACH_MAKE[:-2]])
def test_outside_the_blocks_every_weight_is_the_trained_one(family, folders):
    real = open_model(found(folders(family)), device="cpu")
    control, other = changed(folders(family), 1), changed(folders(family), 2)
    assert control.row == real.row
    blocks = {
        id(p) for stack in all_stacks(control.module, control.module.config, "") for p in stack.blocks.parameters()
    }
    theirs, others, drawn_alike = (tensors(one.module) for one in (real, other, drawn(folders(family), 1)))
    moved = 0
    for name, ours in tensors(control.module).items():
        if id(ours) not in blocks:
            assert torch.equal(ours, theirs[name]), name
        else:
            assert torch.equal(ours, drawn_alike[name]), name
            moved += not torch.equal(ours, others[name])
    assert moved >= 2 * len(control.layers)


def test_a_number_format_rounds_a_control_and_changes_nothing_else(folders):
    half, whole = (changed(folders("llama"), dtype=dtype).module for dtype in ("bfloat16", "float32"))
    for name, values in tensors(whole).items():
        assert torch.equal(tensors(half)[name], values.to(tensors(half)[name].dtype)), name
