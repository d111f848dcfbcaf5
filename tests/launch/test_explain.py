"""The lines of code that a compiled program's instructions come from."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from launch.aot import explain, roofline
from launch.aot.chips import CHIPS
from launch.aot.hlo import parse
from sedd_jax.network import transformer
from tests.sedd_jax.network.small import CONFIG, inputs, noisy_params


def test_instructions_stand_under_their_line_and_its_caller():
    """A loop of 3 multiplies; what a library's file did counts for the line that called it."""
    root = explain.PROJECT
    text = f"""\
HloModule jit_step

FileNames
1 "{root}/sedd_jax/a.py"
2 "{root}/sedd_jax/b.py"
3 "/usr/lib/jax/c.py"

FunctionNames
1 "f"

FileLocations
1 {{file_name_id=1 function_name_id=1 line=10 end_line=10 column=1 end_column=2}}
2 {{file_name_id=1 function_name_id=1 line=20 end_line=20 column=1 end_column=2}}
3 {{file_name_id=2 function_name_id=1 line=30 end_line=30 column=1 end_column=2}}
4 {{file_name_id=3 function_name_id=1 line=40 end_line=40 column=1 end_column=2}}

StackFrames
1 {{file_location_id=1 parent_frame_id=1}}
2 {{file_location_id=2 parent_frame_id=2}}
3 {{file_location_id=3 parent_frame_id=3}}
4 {{file_location_id=4 parent_frame_id=4}}

%body (x: f32[256,256]) -> f32[256,256] {{
  %x = f32[256,256]{{1,0}} parameter(0)
  ROOT %y.7 = f32[256,256]{{1,0}} dot(%x, %x), lhs_contracting_dims={{1}}, \
rhs_contracting_dims={{0}}, metadata={{op_name="jit(f)/transpose(jvp())/dot" stack_frame_id=4}}
}}

%condition (x.1: f32[256,256]) -> pred[] {{
  %x.1 = f32[256,256]{{1,0}} parameter(0)
  ROOT %go = pred[] constant(true)
}}

ENTRY %main (p: f32[256,256]) -> f32[256,256] {{
  %p = f32[256,256]{{1,0}} parameter(0)
  %q = f32[256,256]{{1,0}} negate(%p), metadata={{op_name="jit(f)/jvp()/neg" stack_frame_id=2}}
  %r.remat2 = f32[256,256]{{1,0}} exponential(%q)
  ROOT %loop = f32[256,256]{{1,0}} while(%r.remat2), condition=%condition, body=%body, \
backend_config={{"known_trip_count":{{"n":"3"}}}}
}}
"""
    product, *others = explain.lines(text, roofline.work(parse(text), CHIPS["h100"]))
    size = 256 * 256 * 4
    assert (product.place, product.direction) == ("sedd_jax/b.py:30 < a.py:20", "backward")
    assert (product.num_bytes, product.flops) == (3 * 3 * size, 3 * 2 * 256**3)
    assert product.parts[0].name == "y" and product.parts[0].times == 3
    assert {(line.place, line.direction, line.num_bytes) for line in others} == {
        ("sedd_jax/a.py:20", "forward", 2 * size),
        ("no line", "", 2 * size),
    }
    shown = explain.table((product, *others)).splitlines()
    assert shown[1].endswith("sedd_jax/b.py:30 < a.py:20, backward")
    assert shown[2].split() == ["0.00", "0.002", "0.000", "3", "y", "→", "f32[256,256]"]


@pytest.fixture
def compiled_anew():
    """The cache is off: a program of another checkout would tell the lines of that."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", before)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("compiled_anew")
def test_a_compiled_network_tells_its_lines():
    x_BxL, sigma_B = inputs(CONFIG)
    keys_B = jax.random.split(jax.random.key(0), len(x_BxL))

    def loss(params):
        return jnp.square(
            transformer.output(CONFIG, params, x_BxL, sigma_B, dropout_key_B=keys_B)
        ).sum()

    text = jax.jit(jax.grad(loss)).lower(noisy_params(CONFIG)).compile().as_text()
    found = explain.lines(text, roofline.work(parse(text), CHIPS["h100"]))
    products = [line for line in found if line.flops]
    assert {line.direction for line in products} >= {"forward", "backward"}
    assert all(line.place.startswith("sedd_jax/network/") for line in products)
    # A linear layer's lines stand apart by who called it.
    callers = {line.place for line in products if "linear.py" in line.place}
    assert len({place.split(" < ")[1] for place in callers}) >= 5
