"""FLOPs and memory traffic of the instructions of a compiled program, as one device runs it.

XLA's own `cost_analysis` counts a loop's body once, and on GPUs there is none; this counts by trip.
FLOPs are those of matrix products, convolutions and attention kernels: what the MFU's peak is of.
"""

import math
import re
from collections.abc import Callable

from launch.aot.collectives import is_collective
from launch.aot.hlo import Computation, Instruction, Module, Shape

# They move nothing: names for what is there already, or bookkeeping.
FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast after-all partition-id replica-id "
    "while call conditional opt-barrier domain add-dependency "
    "async-start async-update async-done copy-done slice-done send send-done recv recv-done".split()
)
# Custom calls by which TPUs get memory, name it anew, and learn where they are.
IDLE_CALLS = ("AllocateBuffer", "ConcatBitcast", "SliceId")
# They move data only.
COPYING_CALLS = ("ZeroCrop",)
# Started, and waited for later.
PREFETCHES = ("copy-start", "slice-start")
SLICES = ("dynamic-slice", "slice", "gather")
# Of what is read through these, only the elements that are used are computed.
ELEMENT_WISE = frozenset(
    "convert copy transpose add subtract multiply divide negate select maximum minimum compare and "
    "or xor not exponential log sqrt rsqrt tanh".split()
)
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_DIM_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")


def _int_list(attributes: str, key: str) -> list[int]:
    found = re.search(rf"\b{key}=\{{([\d,]*)\}}", attributes)
    return [int(number) for number in found[1].split(",") if number] if found else []


def _dot_flops(computation: Computation, dot: Instruction) -> int:
    """The FLOPs of a matrix product: 2 for each output and each contracted element."""
    (lhs,) = computation[dot.operands[0]].shapes
    contracted = [lhs.dims[dim] for dim in _int_list(dot.attributes, "lhs_contracting_dims")]
    return 2 * dot.shapes[0].size * math.prod(contracted)


def _window_terms(size: int, kernel: int, output: int, window: dict[str, str]) -> int:
    """The number of products of input and kernel entries along one dimension, without padding."""
    low, _ = (int(number) for number in window.get("pad", "0_0").split("_"))
    stride, base, dilation = (
        int(window.get(key, 1)) for key in ("stride", "lhs_dilate", "rhs_dilate")
    )
    last = (size - 1) * base
    terms = 0
    for tap in range(kernel):
        shift = tap * dilation - low  # the input's dilated position is stride × output + shift
        first_output = max(0, -(shift // stride))
        last_output = min(output - 1, (last - shift) // stride)
        if base == 1:
            terms += max(0, last_output - first_output + 1)
        else:
            positions = range(first_output, last_output + 1)
            terms += sum((stride * o + shift) % base == 0 for o in positions)
    return terms


def _convolution_flops(computation: Computation, convolution: Instruction) -> int:
    """The FLOPs of a convolution, into which TPUs turn matrix products, batched ones too."""
    lhs, rhs = (computation[name].shapes[0] for name in convolution.operands[:2])
    (output,) = convolution.shapes
    found = _WINDOW.search(convolution.attributes)
    fields = dict(field.split("=") for field in found[1].split()) if found else {}
    lhs_labels, rhs_labels, out_labels = _DIM_LABELS.search(convolution.attributes).groups()
    terms = 1
    for dim in range(sum(label.isdigit() for label in out_labels)):
        window = {key: value.split("x")[dim] for key, value in fields.items()}
        terms *= _window_terms(
            lhs.dims[lhs_labels.index(str(dim))],
            rhs.dims[rhs_labels.index(str(dim))],
            output.dims[out_labels.index(str(dim))],
            window,
        )
    batch, features = output.dims[out_labels.index("b")], output.dims[out_labels.index("f")]
    # The kernel's input features are those of one group already.
    flops = 2 * terms * batch * features * rhs.dims[rhs_labels.index("i")]
    groups = re.search(r"batch_group_count=(\d+)", convolution.attributes)
    return flops // (int(groups[1]) if groups else 1)


def _kernel_flops(computation: Computation, call: Instruction) -> int | None:
    """The FLOPs of cuBLAS' products and of cuDNN's and Pallas' (splash) attention, by shapes."""
    if "__cublas$" in call.attributes:
        found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', call.attributes)
        (lhs,) = computation[call.operands[0]].shapes
        contracted = [lhs.dims[int(dim)] for dim in re.findall(r"\d+", found[1])]
        return 2 * call.shapes[0].size * math.prod(contracted)
    arrays = [shapes[0] for shapes in computation.operand_shapes(call)]
    arrays = [shape.dims for shape in arrays if "f" in shape.dtype and len(shape.dims) >= 3]
    # Forward q kᵀ and the sum of v; backward the first anew and the gradients of four factors.
    if "__cudnn$fmha" in call.attributes:
        products, keys = 5 if "Backward" in call.attributes else 2, arrays[1][-3]  # (B, M, H, K)
    elif "splash_mha" in call.op_name:
        products, keys = 5 if "splash_mha_dkv" in call.op_name else 2, arrays[1][-2]  # (…, M, K)
    else:
        return None
    return products * 2 * math.prod(arrays[0]) * keys


def unknown_kernel(computation: Computation, instruction: Instruction) -> str | None:
    """The target of a custom call that computes and whose FLOPs are not known here."""
    if instruction.opcode != "custom-call":
        return None
    target = re.search(r'custom_call_target="([^"]*)"', instruction.attributes)[1]
    if target in IDLE_CALLS + COPYING_CALLS or _kernel_flops(computation, instruction) is not None:
        return None
    return target


def flops(module: Module, computation: Computation, instruction: Instruction) -> int:
    """The FLOPs of one execution of an instruction; of a fusion, all that is in it."""
    if instruction.opcode == "dot":
        return _dot_flops(computation, instruction)
    if instruction.opcode == "convolution":
        return _convolution_flops(computation, instruction)
    if instruction.opcode == "custom-call":
        return _kernel_flops(computation, instruction) or 0
    if instruction.opcode == "fusion":
        inside = module.inside(instruction)
        return sum(flops(module, c, i) for c, i in inside if i.opcode != "fusion")
    return 0


class Traffic:
    """Bytes that instructions read from and write to the device's main memory.

    in_main_memory: whether a shape lives there, not in a scratchpad such as a TPU's VMEM.
    """

    def __init__(self, module: Module, in_main_memory: Callable[[Shape], bool]):
        self._module = module
        self._in_main_memory = in_main_memory
        self._shares: dict[tuple[str, str, bool], float] = {}  # read, of the arrays of fusions

    def _bytes(self, shapes: tuple[Shape, ...]) -> int:
        return sum(shape.num_bytes for shape in shapes if self._in_main_memory(shape))

    def of(self, computation: Computation, instruction: Instruction) -> int:
        """Operands and results once each; of what is sliced or updated in place, that part."""
        opcode = instruction.opcode
        if opcode in FREE or any(
            f'target="{name}"' in instruction.attributes for name in IDLE_CALLS
        ):
            return 0
        operands = [self._bytes(shapes) for shapes in computation.operand_shapes(instruction)]
        if is_collective(opcode):
            return self._of_collective(computation, instruction)
        if opcode == "fusion":
            return self._of_fusion(instruction, operands)
        if opcode == "dynamic-update-slice":
            return 2 * operands[1]
        if opcode == "scatter":  # (target, indices, updates): reads and writes what is updated
            return sum(operands[1:]) + 2 * operands[-1]
        if opcode == "copy-start":  # (destination, source, context)
            return operands[0] + self._bytes(instruction.shapes[:1])
        if opcode == "slice-start":  # ((source), destination, context)
            read = instruction.shapes[1].num_bytes if operands[0] else 0
            return read + self._bytes(instruction.shapes[1:2])
        results = self._bytes(instruction.shapes)
        if opcode in SLICES:
            return min(results, operands[0]) + results + sum(operands[1:])
        return sum(operands) + results

    def _of_collective(self, computation: Computation, collective: Instruction) -> int:
        """Operands and results once each; of an asynchronous one, with its first half."""
        if collective.opcode.endswith("-done"):
            return 0
        operands = [s for shapes in computation.operand_shapes(collective) for s in shapes]
        results = collective.shapes
        if collective.opcode.endswith("-start") and len(results) > len(operands):
            results = results[len(operands) : 2 * len(operands)]  # (operands, results, contexts)
        return self._bytes(tuple(operands)) + self._bytes(results)

    def _of_fusion(self, fusion: Instruction, operands: list[int]) -> int:
        fused = self._module.fused(fusion)
        total = sum(
            min(whole, self._read(fused, fused.parameters[number]))
            for number, whole in enumerate(operands)
            if whole and number in fused.parameters
        )
        roots = [fused.root]
        if fused.root.opcode == "tuple":
            roots = [fused[name] for name in fused.root.operands]
        results = [shape for shape in fusion.shapes]
        for root in roots:
            shapes, results = results[: len(root.shapes)], results[len(root.shapes) :]
            total += min(self._bytes(tuple(shapes)), self._written(fused, root))
        return total

    def _read(self, fused: Computation, operand: Instruction) -> int:
        """The bytes that a fusion reads of an operand: slices where only they are used."""
        whole = sum(shape.num_bytes for shape in operand.shapes)
        return min(round(self._share_read(fused, operand, in_place=True) * whole), whole)

    def _share_read(self, fused: Computation, operand: Instruction, in_place: bool) -> float:
        """The share of an array's elements that a fusion uses.

        in_place: whether what updates a part of it leaves the rest where it is.
        """
        key = fused.name, operand.name, in_place
        if key not in self._shares:
            self._shares[key] = min(self._sum_of_shares(fused, operand, in_place), 1.0)
        return self._shares[key]

    def _sum_of_shares(self, fused: Computation, operand: Instruction, in_place: bool) -> float:
        if operand is fused.root or len(operand.shapes) != 1:
            return 1.0
        total, size = 0.0, max(operand.shapes[0].size, 1)
        for user, number in fused.users.get(operand.name, []):
            if user.opcode in SLICES and number == 0:
                total += user.shapes[0].size / size
            elif user.opcode == "dynamic-update-slice" and number == 0 and in_place:
                continue  # overwritten
            elif user.opcode == "scatter" and number == 0 and in_place:
                total += fused[user.operands[-1]].shapes[0].size / size
            elif user.opcode in ("bitcast", "reshape"):
                total += self._share_read(fused, user, in_place)
            elif user.opcode in ELEMENT_WISE and user is not fused.root:
                total += self._share_read(fused, user, in_place=False)
            elif user.opcode == "fusion":
                inner = self._module.fused(user)
                total += self._share_read(inner, inner.parameters[number], in_place)
            else:
                return 1.0
        return total

    def _written(self, fused: Computation, root: Instruction) -> int:
        """The bytes that a fusion writes of a result: the update where it is one in place."""
        if root.opcode in ("bitcast", "reshape"):
            return self._written(fused, fused[root.operands[0]])
        if root.opcode == "dynamic-update-slice":
            return sum(shape.num_bytes for shape in fused[root.operands[1]].shapes)
        if root.opcode == "scatter":
            return sum(shape.num_bytes for shape in fused[root.operands[-1]].shapes)
        if root.opcode == "fusion":
            inner = self._module.fused(root)
            return self._written(inner, inner.root)
        return sum(shape.num_bytes for shape in root.shapes)
