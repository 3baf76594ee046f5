"""Vector loops in LLVM's portable vector types: ``add_rows`` adds the weights of input spikes to potentials.

LLVM maps a block of numbers to the registers of the processor (AVX-512, AVX2, NEON). numba vectorises a plain loop only
behind a run-time test that its arrays do not overlap, and it keeps no sum in registers from one row to the next. The
runs here are so short (32 to 800 numbers) that this takes longer than the additions.

All lengths are multiples of ``lanes(dtype)``: the caller pads with zeros.
"""

from functools import cache

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

LINE_BYTES = 64
ADDITION = """define <16 x float> @add(<16 x float> %a, <16 x float> %b) {
  %sum = fadd <16 x float> %a, %b
  ret <16 x float> %sum
}"""


def lanes(dtype: np.dtype) -> int:
    """Return how many numbers of this type a block (one cache line) contains."""
    return LINE_BYTES // dtype.itemsize


@cache
def count_accumulators(triple: str, cpu: str, features: str) -> int:
    """Return how many blocks the loop keeps in registers on a target processor.

    The sums must be enough to hide the latency of an addition, and few enough to stay in registers. The target can
    differ from this machine (NUMBA_CPU_NAME), and the name of a processor implies features that numba does not list.
    Therefore LLVM compiles one addition of two blocks for the target, and shows whether a block is one register (the
    registers of AVX-512 are called zmm) or several.
    """
    target = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    return 8 if "zmm" in target.emit_assembly(binding.parse_assembly(ADDITION)) else 4


@intrinsic
def add_rows(typingctx, p, at, w, rows, lo, hi, shift, n):
    """Compute ``p[at : at+n] += w[rows[i]+shift : rows[i]+shift+n]`` for i = lo, …, hi-1, in this order.

    The sums stay in registers from the first row to the last: each addition takes one load.
    """
    signature = types.void(p, types.intp, w, rows, types.intp, types.intp, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        p_, at_, w_, rows_, lo_, hi_, shift_, n_ = args
        p_t, _, w_t, rows_t = sig.args[:4]
        size = p_t.dtype.bitwidth // 8
        number, start = context.get_data_type(p_t.dtype), ir.Constant(n_.type, 0)
        blocks = count_accumulators(*cpu_target.target_context.codegen().magic_tuple())
        while blocks:  # first the widest steps, as many as fit, then narrower steps
            vector = ir.VectorType(number, blocks * LINE_BYTES // size)
            step, end = ir.Constant(n_.type, vector.count), builder.and_(n_, ir.Constant(n_.type, -vector.count))
            with cgutils.for_range_slice(builder, start, end, step, n_.type) as (offset, _):
                target = _pointer(context, builder, p_t, p_, builder.add(at_, offset), vector.count)
                total = cgutils.alloca_once(builder, vector)
                builder.store(_load(builder, target, vector, size), total)
                base = builder.add(shift_, offset)
                with cgutils.for_range_slice(builder, lo_, hi_, ir.Constant(lo_.type, 1), lo_.type) as (i, _):
                    row = builder.load(_pointer(context, builder, rows_t, rows_, i, 1))
                    row = builder.sext(row, base.type) if row.type.width < base.type.width else row
                    source = _pointer(context, builder, w_t, w_, builder.add(row, base), vector.count)
                    builder.store(builder.fadd(builder.load(total), _load(builder, source, vector, size)), total)
                store = builder.store(builder.load(total), builder.bitcast(target, vector.as_pointer()))
                store.align = size
            start, blocks = end, blocks // 2
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def any_above(typingctx, p, at, n, level):
    """Return whether any of ``p[at : at+n]`` is above ``level``.

    With a plain loop, the learning step of a small layer (30 features of 5×5) takes 9 % longer.
    """
    signature = types.boolean(p, types.intp, types.intp, p.dtype)

    def codegen(context, builder, sig, args):
        p_, at_, n_, level_ = args
        size = sig.args[0].dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(p.dtype), LINE_BYTES // size)
        zero, undefined = ir.Constant(ir.IntType(32), 0), ir.Constant(vector, ir.Undefined)
        first, same = builder.insert_element(undefined, level_, zero), ir.VectorType(zero.type, vector.count)
        levels = builder.shuffle_vector(first, undefined, ir.Constant(same, None))
        above_so_far = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(vector.count), 0))
        start, step = ir.Constant(n_.type, 0), ir.Constant(n_.type, vector.count)
        with cgutils.for_range_slice(builder, start, n_, step, n_.type) as (offset, _):
            source = _pointer(context, builder, sig.args[0], p_, builder.add(at_, offset), vector.count)
            above = builder.fcmp_ordered(">", _load(builder, source, vector, size), levels)
            bits = builder.bitcast(above, ir.IntType(vector.count))
            builder.store(builder.or_(builder.load(above_so_far), bits), above_so_far)
        return builder.icmp_unsigned("!=", builder.load(above_so_far), ir.Constant(ir.IntType(vector.count), 0))

    return signature, codegen


def _pointer(context, builder, array_type, array, index, count):
    """Return the address of ``count`` numbers of the array. With NUMBA_BOUNDSCHECK=1, the code checks the bounds."""
    struct = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        zero, end = ir.Constant(index.type, 0), builder.add(index, ir.Constant(index.type, count))
        before, after = builder.icmp_signed("<", index, zero), builder.icmp_signed(">", end, struct.nitems)
        with builder.if_then(builder.or_(before, after), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a vector loop is outside of an array",))
    return builder.gep(struct.data, [index])


def _load(builder, pointer, vector, alignment):
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), typ=vector)
    loaded.align = alignment
    return loaded
