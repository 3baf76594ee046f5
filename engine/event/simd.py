"""Vector loops in LLVM's portable vector types: ``add_rows`` adds the weights of input spikes to potentials.

LLVM maps a block of numbers to the registers of the processor (AVX-512, AVX2, NEON). numba vectorises a plain loop only
behind a run-time test that its arrays do not overlap, and it keeps no sum in registers from one row to the next. The
runs here are so short (32 to 800 numbers) that this takes longer than the additions.

All lengths are multiples of ``lanes(dtype)``: the caller pads with zeros.
"""

from functools import partial

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

LINE_BYTES = 64
ACCUMULATORS = 4  # blocks that ``add_rows`` keeps in registers: 8 are not faster with AVX-512, and too many with AVX2


def lanes(dtype: np.dtype) -> int:
    """Return how many numbers of this type a block (one cache line) contains."""
    return LINE_BYTES // dtype.itemsize


@intrinsic
def add_rows(typingctx, p, at, w, rows, span, shift, n, scale):
    """Compute ``p[at : at+n] += w[begin : begin+n]``, begin = rows[i] · scale + shift, for i = lo, …, hi-1 in order.

    span: (lo, hi).

    The sums stay in registers from the first row to the last: each addition takes one load. If w contains codes of 16
    bits and p numbers of 32 bits, the sums of the rows must fit in 16 bits, too. Sums of bytes stay at 255.
    """
    signature = types.void(p, types.intp, w, rows, types.UniTuple(types.intp, 2), types.intp, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        p_, at_, w_, rows_, span_, shift_, n_, scale_ = args
        lo_ = builder.extract_value(span_, 0)
        hi_ = builder.extract_value(span_, 1)
        p_t, _, w_t, rows_t = sig.args[:4]
        size = w_t.dtype.bitwidth // 8
        is_code = p_t.dtype != w_t.dtype
        is_count = w_t.dtype == types.uint8
        if is_code:
            add = builder.add
        elif is_count:
            add = partial(_add_saturating, builder)
        else:
            add = builder.fadd
        number = context.get_data_type(w_t.dtype)
        one = ir.Constant(lo_.type, 1)
        start = ir.Constant(n_.type, 0)
        blocks = ACCUMULATORS
        while blocks:  # first the widest steps, as many as fit, then narrower steps
            vector = ir.VectorType(number, blocks * LINE_BYTES // size)
            step = ir.Constant(n_.type, vector.count)
            end = builder.and_(n_, ir.Constant(n_.type, -vector.count))
            with cgutils.for_range_slice(builder, start, end, step, n_.type) as (offset, _):
                at = builder.add(at_, offset)
                target = _pointer(context, builder, p_t, p_, at, vector.count)
                total = cgutils.alloca_once(builder, vector)
                wide = ir.VectorType(context.get_data_type(p_t.dtype), vector.count)
                if is_code:
                    builder.store(ir.Constant(vector, [0] * vector.count), total)
                else:
                    builder.store(_load(builder, target, vector, size), total)
                base = builder.add(shift_, offset)
                with cgutils.for_range_slice(builder, lo_, hi_, one, lo_.type) as (i, _):
                    row = builder.load(_pointer(context, builder, rows_t, rows_, i, 1))
                    begin = builder.add(builder.mul(builder.sext(row, base.type), scale_), base)
                    source = _pointer(context, builder, w_t, w_, begin, vector.count)
                    builder.store(add(builder.load(total), _load(builder, source, vector, size)), total)
                after = builder.load(total)
                if is_code:
                    after = builder.add(_load(builder, target, wide, size), builder.sext(after, wide))
                store = builder.store(after, builder.bitcast(target, wide.as_pointer()))
                store.align = size
            start = end
            blocks //= 2
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def any_above(typingctx, p, at, n, level):
    """Return whether any of ``p[at : at+n]`` is above ``level``.

    With the fastest of three plain loops, learning steps take 25 to 35 % longer, also of decision layers.
    """
    signature = types.boolean(p, types.intp, types.intp, p.dtype)

    def codegen(context, builder, sig, args):
        p_, at_, n_, level_ = args
        size = sig.args[0].dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(p.dtype), LINE_BYTES // size)
        levels = _fill(builder, vector, level_)
        mask = ir.IntType(vector.count)
        none = ir.Constant(mask, 0)
        above_so_far = cgutils.alloca_once_value(builder, none)
        start = ir.Constant(n_.type, 0)
        step = ir.Constant(n_.type, vector.count)
        with cgutils.for_range_slice(builder, start, n_, step, n_.type) as (offset, _):
            at = builder.add(at_, offset)
            source = _pointer(context, builder, sig.args[0], p_, at, vector.count)
            above = builder.fcmp_ordered(">", _load(builder, source, vector, size), levels)
            bits = builder.bitcast(above, mask)
            builder.store(builder.or_(builder.load(above_so_far), bits), above_so_far)
        return builder.icmp_unsigned("!=", builder.load(above_so_far), none)

    return signature, codegen


@intrinsic
def find_spikes(typingctx, times, at, silent):
    """Return which of the bytes ``times[at : at+64]`` are below ``silent``; the lowest bit stands for the first."""
    signature = types.uint64(times, types.intp, types.uint8)

    def codegen(context, builder, sig, args):
        vector = ir.VectorType(ir.IntType(8), LINE_BYTES)
        source = _pointer(context, builder, times, args[0], args[1], LINE_BYTES)
        below = builder.icmp_unsigned("<", _load(builder, source, vector, 1), _fill(builder, vector, args[2]))
        return builder.bitcast(below, ir.IntType(LINE_BYTES))

    return signature, codegen


def _add_saturating(builder, a, b):
    """Return the sums of two vectors of bytes, at most 255."""
    name = f"llvm.uadd.sat.v{a.type.count}i8"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type, a.type]), name)
    return builder.call(function, [a, b])


def _fill(builder, vector, value):
    """Return a vector with the same number in all its places."""
    index = ir.IntType(32)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(index, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, vector.count), None))


def _pointer(context, builder, array_type, array, index, count):
    """Return the address of ``count`` numbers of the array. With NUMBA_BOUNDSCHECK=1, the code checks the bounds."""
    struct = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        end = builder.add(index, ir.Constant(index.type, count))
        before = builder.icmp_signed("<", index, ir.Constant(index.type, 0))
        after = builder.icmp_signed(">", end, struct.nitems)
        with builder.if_then(builder.or_(before, after), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a vector loop is outside of an array",))
    return builder.gep(struct.data, [index])


def _load(builder, pointer, vector, alignment):
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), typ=vector)
    loaded.align = alignment
    return loaded
