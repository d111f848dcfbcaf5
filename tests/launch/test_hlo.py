"""Counting in compiled programs, on texts small enough to count by hand."""

import numpy as np
import pytest

from launch.aot import cost
from launch.aot.collectives import collectives, parse_groups
from launch.aot.hlo import Shape, parse, parse_shapes

# Two partitions. A loop of 3 gathers a weight over them and multiplies; then a sum over both, with
# another loop around whose length only the condition tells. f32[8,4] is 128 bytes.
PROGRAM = """\
HloModule jit_step, is_scheduled=true, num_partitions=2

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused_slice (stack: f32[3,8,4], index: s32[]) -> f32[8,4] {
  %stack = f32[3,8,4]{2,1,0} parameter(0)
  %index = s32[] parameter(1)
  %zero = s32[] constant(0)
  %slice = f32[1,8,4]{2,1,0} dynamic-slice(%stack, %index, %zero, %zero), \
dynamic_slice_sizes={1,8,4}
  ROOT %weight = f32[8,4]{1,0} bitcast(%slice)
}

%body (state: (s32[], f32[3,8,4], f32[16,16])) -> (s32[], f32[3,8,4], f32[16,16]) {
  %state = (s32[], f32[3,8,4]{2,1,0}, /*index=2*/f32[16,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %stack.1 = f32[3,8,4]{2,1,0} get-tuple-element(%state), index=1
  %x = f32[16,16]{1,0} get-tuple-element(%state), index=2
  %weight.1 = f32[8,4]{1,0} fusion(%stack.1, %i), kind=kLoop, calls=%fused_slice
  %gathered = f32[16,4]{1,0:T(8,128)} all-gather(%weight.1), channel_id=1, \
replica_groups=[1,2]<=[2], dimensions={0}, use_global_device_ids=true, \
metadata={op_name="jit(step)/while/body/gather \\"w\\"" stack_frame_id=7}
  %y = f32[16,4]{1,0} dot(%x, %gathered), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %next = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) tuple(%i, %stack.1, %x)
}

%condition (state.2: (s32[], f32[3,8,4], f32[16,16])) -> pred[] {
  %state.2 = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  %limit = s32[]{:T(128)} constant(5)
  ROOT %go = pred[]{:T(512)} compare(%i.2, %limit), direction=LT
}

%outer (state.3: (s32[], f32[3,8,4], f32[16,16])) -> (s32[], f32[3,8,4], f32[16,16]) {
  %state.3 = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) parameter(0)
  ROOT %inner = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) while(%state.3), \
condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (p0: f32[3,8,4], p1: f32[16,16]) -> f32[16,16] {
  %p0 = f32[3,8,4]{2,1,0} parameter(0)
  %p1 = f32[16,16]{1,0} parameter(1)
  %one = s32[] constant(1)
  %start = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) tuple(%one, %p0, %p1)
  %loop = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) while(%start), \
condition=%condition, body=%outer
  %z = f32[16,16]{1,0} get-tuple-element(%loop), index=2
  %sum-start = f32[16,16]{1,0} all-reduce-start(%z), channel_id=2, \
replica_groups={{0,1}}, to_apply=%add
  ROOT %sum-done = f32[16,16]{1,0} all-reduce-done(%sum-start)
}
"""


def test_shapes_with_layouts_and_memory_spaces():
    assert parse_shapes("bf16[8,128]{1,0:T(8,128)(2,1)S(1)}") == (Shape("bf16", (8, 128), 1),)
    shapes = parse_shapes("(s32[], /*index=1*/pred[7]{0}, u4[5]{0:E(4)}, token[])")
    assert [shape.num_bytes for shape in shapes] == [4, 7, 3, 0]


def test_collectives_are_counted_by_trip():
    gather, reduce = collectives(parse(PROGRAM), num_partitions=2)
    assert (gather.kind, gather.num_bytes) == ("all-gather", 8 * 4 * 4)
    assert gather.times == 4 * 3  # the outer loop starts at 1 and ends before 5
    assert gather.op_name == 'jit(step)/while/body/gather \\"w\\"'
    assert (reduce.kind, reduce.num_bytes, reduce.times) == ("all-reduce", 16 * 16 * 4, 1)
    assert gather.axes({"data": 1, "fsdp": 2, "tensor": 1}) == ("fsdp",)


def test_flops_and_bytes_are_counted_by_trip():
    module = parse(PROGRAM)
    traffic = cost.Traffic(module, lambda shape: True)
    flops = moved = 0
    for computation, instruction, times in module.executed():
        flops += times * cost.flops(module, computation, instruction)
        if instruction.opcode in ("fusion", "dot"):
            moved += times * traffic.of(computation, instruction)
    assert flops == 12 * 2 * 16 * 4 * 16
    # The fusion reads a slice, not the stack, and the index; the product reads two and writes one.
    assert moved == 12 * ((128 + 4 + 128) + (1024 + 256 + 256))


def test_a_loop_of_unknown_length_counts_once():
    text = PROGRAM.replace("direction=LT", "direction=NE")
    gather, _ = collectives(parse(text), num_partitions=2)
    assert gather.times == 3


def test_a_loop_that_counts_in_twos_has_half_the_trips():
    """From 1 to below 5, so twice, each time with three of the inner loop."""
    text = PROGRAM.replace("ROOT %inner = ", "%two = s32[] constant(2)\n  %inner = ").replace(
        '{"known_trip_count":{"n":"3"}}',
        """{"known_trip_count":{"n":"3"}}
  %i.3 = s32[] get-tuple-element(%state.3), index=0
  %i.4 = s32[] add(%i.3, %two)
  ROOT %after = (s32[], f32[3,8,4]{2,1,0}, f32[16,16]{1,0}) tuple(%i.4, %inner, %inner)""",
    )
    gather, _ = collectives(parse(text), num_partitions=2)
    assert gather.times == 2 * 3


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("replica_groups={{0,2},{1,3}}", [[0, 2], [1, 3]]),
        ("replica_groups={}", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}", [[0, 2], [1, 3]]),
        ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
    ],
)
def test_groups_in_every_notation(groups, expected):
    attributes = f", channel_id=1, {groups}, use_global_device_ids=true"
    assert np.array_equal(parse_groups(attributes, num_partitions=4), expected)


def test_groups_in_an_unknown_notation_are_refused():
    with pytest.raises(ValueError, match="groups of a collective"):
        parse_groups(", replica_groups=by_magic", num_partitions=4)


CONVOLUTION = """\
HloModule conv

ENTRY %main (lhs: bf16[8,12,64,32], rhs: bf16[8,12,64,16]) -> f32[8,12,32,16] {{
  %lhs = bf16{lhs} parameter(0)
  %rhs = bf16{rhs} parameter(1)
  ROOT %out = f32{out} convolution(%lhs, %rhs), {attributes}
}}
"""


@pytest.mark.parametrize(
    ("lhs", "rhs", "out", "attributes", "expected"),
    [
        # A matrix product (32, 64) × (64, 16).
        ("[32,64]", "[64,16]", "[32,16]", "dim_labels=bf_io->bf", 2 * 32 * 64 * 16),
        # A product of 8 × 12 pairs of matrices, as TPUs write it: dilated until none overlap.
        (
            "[8,12,32,64]", "[8,12,64,16]", "[8,12,32,16]",
            "window={size=8x12 stride=7x11 lhs_dilate=8x12}, dim_labels=01bf_01io->01bf",
            2 * 8 * 12 * 32 * 64 * 16,
        ),
        # Three products of one input, as a window over padding.
        (
            "[1,32,64]", "[3,64,16]", "[3,32,16]",
            "window={size=3 pad=2_2 rhs_reversal=1}, dim_labels=0bf_0io->0bf",
            2 * 3 * 32 * 64 * 16,
        ),
    ],
)  # fmt: skip
def test_convolutions_that_are_matrix_products(lhs, rhs, out, attributes, expected):
    text = CONVOLUTION.format(lhs=lhs, rhs=rhs, out=out, attributes=attributes)
    module = parse(text)
    main = module.computations["main"]
    assert cost.flops(module, main, main.root) == expected


# What TPUs do: a gather spread over two fusions that run meanwhile, a reduce-scatter in a fusion, a
# Pallas kernel whose metadata holds line ends, a sum between slices through the hosts.
TPU_PROGRAM = """\
HloModule jit_step, is_scheduled=true, num_partitions=4

%async_collective_fusion.1 (w: bf16[64,8]) -> bf16[128,8] {
  %w = bf16[64,8]{1,0} parameter(0)
  ROOT %gather.1 = bf16[128,8]{1,0} all-gather(%w), channel_id=7, \
replica_groups=mesh['axis_0'=1,'axis_1'=2] {'axis_1'}, dimensions={0}
}

%async_collective_fusion.2 (w.2: bf16[64,8]) -> bf16[128,8] {
  %w.2 = bf16[64,8]{1,0} parameter(0)
  ROOT %gather.2 = bf16[128,8]{1,0} all-gather(%w.2), channel_id=7, \
replica_groups=mesh['axis_0'=1,'axis_1'=2] {'axis_1'}, dimensions={0}
}

%all-reduce-scatter (g: f32[128,8]) -> f32[64,8] {
  %g = f32[128,8]{1,0} parameter(0)
  %all-reduce.1 = f32[128,8]{1,0} all-reduce(%g), channel_id=8, replica_groups={{0,1}}, to_apply=%s
  %at = s32[] constant(0)
  ROOT %part = f32[64,8]{1,0} dynamic-slice(%all-reduce.1, %at, %at), dynamic_slice_sizes={64,8}
}

ENTRY %main (w.3: bf16[64,8], g.3: f32[128,8], q: bf16[2,6,256,64]) -> f32[64,8] {
  %w.3 = bf16[64,8]{1,0} parameter(0)
  %g.3 = f32[128,8]{1,0} parameter(1)
  %q = bf16[2,6,256,64]{3,2,1,0} parameter(2)
  %mask = s8[1,2,2]{2,1,0} constant({...})
  %fusion.1 = bf16[128,8]{1,0} fusion(%w.3), kind=kCustom, calls=%async_collective_fusion.1
  %fusion.2 = bf16[128,8]{1,0} fusion(%w.3), kind=kCustom, calls=%async_collective_fusion.2
  %o = bf16[2,6,256,64]{3,2,1,0} custom-call(%mask, %q, %q, %q), \
custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 128}"
}}, metadata={op_name="jit(step)/splash_mha_fwd_residuals/pallas_call"}
  %scattered = f32[64,8]{1,0} fusion(%g.3), kind=kCustom, calls=%all-reduce-scatter
  %token = token[] after-all()
  %send = (f32[64,8]{1,0}, u32[], token[]) send(%scattered, %token), channel_id=9, \
is_host_transfer=true, frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
  %early = (bf16[128,8]{1,0:S(1)}, bf16[128,8]{1,0}, u32[]{:S(2)}) copy-start(%fusion.1)
  %some = ((f32[128,8]{1,0}), f32[32,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%g.3)
  ROOT %done = f32[64,8]{1,0} copy(%scattered)
}
"""


def test_collectives_of_tpus():
    slice_N = np.array([0, 0, 1, 1])
    found = collectives(parse(TPU_PROGRAM), num_partitions=4, slice_N=slice_N)
    assert [(c.kind, c.num_bytes) for c in found] == [
        ("all-gather", 64 * 8 * 2),
        ("reduce-scatter", 128 * 8 * 4),
        ("all-reduce", 64 * 8 * 4),
    ]
    shape = {"data": 2, "fsdp": 2, "tensor": 1}
    assert [c.axes(shape) for c in found] == [("fsdp",), ("fsdp",), ("data",)]


def test_prefetches_into_a_scratchpad_are_read_once():
    module = parse(TPU_PROGRAM)
    main = module.computations["main"]
    traffic = cost.Traffic(module, lambda shape: shape.space == 0)
    assert traffic.of(main, main["early"]) == 128 * 8 * 2
    assert traffic.of(main, main["some"]) == 32 * 8 * 4


def test_attention_kernels_are_counted_by_shape():
    module = parse(TPU_PROGRAM)
    main = module.computations["main"]
    assert cost.flops(module, main, main["o"]) == 4 * 2 * 6 * 256 * 256 * 64
    text = TPU_PROGRAM.replace("splash_mha_fwd_residuals", "splash_mha_dkv")
    backward = parse(text)
    main = backward.computations["main"]
    assert cost.flops(backward, main, main["o"]) == 10 * 2 * 6 * 256 * 256 * 64
    unknown = parse(TPU_PROGRAM.replace("splash", "other")).computations["main"]
    assert cost.unknown_kernel(unknown, unknown["o"]) == "tpu_custom_call"


# A table read through a conversion and added to where its rows are, and sums over two partitions.
PLACES = """\
HloModule jit_step, is_scheduled=true, num_partitions=2

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%looked_up (table: f32[100,8], at: s32[5,1]) -> bf16[5,8] {
  %table = f32[100,8]{1,0} parameter(0)
  %at = s32[5,1]{1,0} parameter(1)
  %half = bf16[100,8]{1,0} convert(%table)
  ROOT %rows = bf16[5,8]{1,0} gather(%half, %at), offset_dims={1}, slice_sizes={1,8}
}

%added (table.1: f32[100,8], at.1: s32[5,1], new.1: f32[5,8]) -> f32[100,8] {
  %table.1 = f32[100,8]{1,0} parameter(0)
  %at.1 = s32[5,1]{1,0} parameter(1)
  %new.1 = f32[5,8]{1,0} parameter(2)
  ROOT %table.2 = f32[100,8]{1,0} scatter(%table.1, %at.1, %new.1), to_apply=%add
}

%converted (table.3: f32[100,8], new.3: bf16[5,8]) -> bf16[100,8] {
  %table.3 = f32[100,8]{1,0} parameter(0)
  %new.3 = bf16[5,8]{1,0} parameter(1)
  %half.3 = bf16[100,8]{1,0} convert(%table.3)
  %zero = s32[] constant(0)
  ROOT %table.4 = bf16[100,8]{1,0} dynamic-update-slice(%half.3, %new.3, %zero, %zero)
}

ENTRY %main (p: f32[100,8], i: s32[5,1], n: f32[5,8], h: bf16[5,8]) -> f32[100,8] {
  %p = f32[100,8]{1,0} parameter(0)
  %i = s32[5,1]{1,0} parameter(1)
  %n = f32[5,8]{1,0} parameter(2)
  %h = bf16[5,8]{1,0} parameter(3)
  %found = bf16[5,8]{1,0} fusion(%p, %i), kind=kLoop, calls=%looked_up
  %new = f32[100,8]{1,0} fusion(%p, %i, %n), kind=kLoop, calls=%added
  %alone = f32[100,8]{1,0} scatter(%p, %i, %n), to_apply=%add
  %part = bf16[100,8]{1,0} fusion(%p, %h), kind=kLoop, calls=%converted
  %gather = (f32[5,8]{1,0}, f32[10,8]{1,0}) all-gather-start(%n), replica_groups={{0,1}}
  %gathered = f32[10,8]{1,0} all-gather-done(%gather)
  ROOT %all = f32[100,8]{1,0} all-reduce(%new), replica_groups={{0,1}}, to_apply=%add
}
"""


@pytest.mark.parametrize(
    ("name", "num_bytes"),
    [
        ("found", 5 * 8 * 4 + 5 * 4 + 5 * 8 * 2),  # rows of the table, where, the same converted
        ("new", 5 * 8 * 4 + 5 * 4 + 5 * 8 * 4 + 5 * 8 * 4),  # rows before, where, new, rows after
        ("alone", 5 * 8 * 4 + 5 * 4 + 5 * 8 * 4 + 5 * 8 * 4),
        ("part", 100 * 8 * 4 + 5 * 8 * 2 + 5 * 8 * 2),  # converted whole: not updated in place
        ("gather", 5 * 8 * 4 + 10 * 8 * 4),
        ("gathered", 0),
        ("all", 2 * 100 * 8 * 4),
    ],
)
def test_bytes_of_what_is_read_and_written_in_part(name, num_bytes):
    module = parse(PLACES)
    main = module.computations["main"]
    assert cost.Traffic(module, lambda shape: True).of(main, main[name]) == num_bytes


def test_a_long_chain_of_products_is_followed_once():
    """2^60 ways lead from the table to its rows."""
    chain = "".join(f"  %x{i + 1} = f32[100,8]{{1,0}} multiply(%x{i}, %x{i})\n" for i in range(60))
    text = PLACES.replace(
        "  %half = bf16[100,8]{1,0} convert(%table)\n",
        f"  %x0 = f32[100,8]{{1,0}} negate(%table)\n{chain}"
        "  %half = bf16[100,8]{1,0} convert(%x60)\n",
    )
    module = parse(text)
    main = module.computations["main"]
    num_bytes = cost.Traffic(module, lambda shape: True).of(main, main["found"])
    assert num_bytes <= 100 * 8 * 4 + 5 * 4 + 5 * 8 * 2
