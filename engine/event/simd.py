"""Vector loops for the event kernels, written in LLVM's portable vector types.

Plain loops in numba are vectorised only after run-time tests that no two arrays overlap, and keep nothing in registers
across rows; the runs here are so short (32 to 800 numbers) that this costs more than the additions. Each function
below is one loop whose memory accesses are exactly the ones written. LLVM splits a block into what the processor has
(AVX-512, AVX2, NEON).

All lengths are multiples of ``lanes(dtype)``; the caller pads with zeros.
"""

from functools import cache

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


@cache
def accumulators(triple, cpu, features):
    """Blocks kept in registers on a target: enough to hide the latency of an addition, few enough not to spill.

    The target need not be this machine (NUMBA_CPU_NAME), and its name alone implies features that numba does not list.
    So LLVM is asked whether a block is one register there (AVX-512's are called zmm) or takes several.
    """
    target = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    return 8 if "zmm" in target.emit_assembly(binding.parse_assembly(ADDITION)) else 4


def lanes(dtype):
    """Numbers of ``dtype`` in one block."""
    return LINE_BYTES // dtype.itemsize


def pointer(context, builder, array_type, array, index, count=1):
    """Where ``count`` numbers of the array begin. numba never checks it; with NUMBA_BOUNDSCHECK=1 this does."""
    struct = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        zero, end = ir.Constant(index.type, 0), builder.add(index, ir.Constant(index.type, count))
        before, after = builder.icmp_signed("<", index, zero), builder.icmp_signed(">", end, struct.nitems)
        with builder.if_then(builder.or_(before, after), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a vector loop reaches out of its array",))
    return builder.gep(struct.data, [index])


def _vector(context, array_type, blocks=1):
    element = context.get_data_type(array_type.dtype)
    return ir.VectorType(element, blocks * LINE_BYTES // (array_type.dtype.bitwidth // 8))


def _load(builder, pointer, vector, element_bytes):
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), typ=vector)
    loaded.align = element_bytes
    return loaded


def _store(builder, value, pointer, element_bytes):
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = element_bytes


def _splat(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _in_widths(builder, length, lane_count, emit):
    """Call ``emit(offset, blocks)`` over ``length`` numbers, in the widest steps first."""
    int_t = length.type
    offset = cgutils.alloca_once(builder, int_t)
    builder.store(ir.Constant(int_t, 0), offset)
    blocks = accumulators(*cpu_target.target_context.codegen().magic_tuple())
    while blocks:
        step = ir.Constant(int_t, blocks * lane_count)
        loop, done = builder.append_basic_block(f"by{blocks}"), builder.append_basic_block(f"by{blocks}.done")
        first = builder.load(offset)
        fits = builder.icmp_signed("<=", builder.add(first, step), length)
        builder.cbranch(fits, loop, done)
        builder.position_at_end(loop)
        now = builder.load(offset)
        emit(now, blocks)
        after = builder.add(now, step)
        builder.store(after, offset)
        builder.cbranch(builder.icmp_signed("<=", builder.add(after, step), length), loop, done)
        builder.position_at_end(done)
        blocks //= 2


@intrinsic
def add_rows(typingctx, p, at, w, rows, lo, hi, shift, n):
    """``p[at : at+n] += w[rows[i]+shift : rows[i]+shift+n]`` for i = lo ... hi-1, in this order.

    The sum stays in registers from the first row to the last: one load for each addition.
    """
    signature = types.void(p, types.intp, w, rows, types.intp, types.intp, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        p_, at_, w_, rows_, lo_, hi_, shift_, n_ = args
        p_t, _, w_t, rows_t = sig.args[:4]
        size = p_t.dtype.bitwidth // 8

        def emit(offset, blocks):
            vector = _vector(context, p_t, blocks)
            target = pointer(context, builder, p_t, p_, builder.add(at_, offset), vector.count)
            total = cgutils.alloca_once(builder, vector)
            builder.store(_load(builder, target, vector, size), total)
            base = builder.add(shift_, offset)
            with cgutils.for_range_slice(builder, lo_, hi_, ir.Constant(lo_.type, 1), lo_.type) as (i, _):
                row = builder.load(pointer(context, builder, rows_t, rows_, i))
                row = builder.sext(row, base.type) if row.type.width < base.type.width else row
                source = pointer(context, builder, w_t, w_, builder.add(row, base), vector.count)
                builder.store(builder.fadd(builder.load(total), _load(builder, source, vector, size)), total)
            _store(builder, builder.load(total), target, size)

        _in_widths(builder, n_, LINE_BYTES // size, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def any_above(typingctx, p, at, n, level):
    """Whether any of ``p[at : at+n]`` is over ``level`` (strictly)."""
    signature = types.boolean(p, types.intp, types.intp, p.dtype)

    def codegen(context, builder, sig, args):
        p_, at_, n_, level_ = args
        p_t = sig.args[0]
        size = p_t.dtype.bitwidth // 8
        found = cgutils.alloca_once(builder, ir.IntType(1))
        builder.store(ir.Constant(ir.IntType(1), 0), found)

        def emit(offset, blocks):
            vector = _vector(context, p_t, blocks)
            values = _load(
                builder, pointer(context, builder, p_t, p_, builder.add(at_, offset), vector.count), vector, size
            )
            over = builder.fcmp_ordered(">", values, _splat(builder, level_, vector))
            bits = builder.bitcast(over, ir.IntType(vector.count))
            some = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
            builder.store(builder.or_(builder.load(found), some), found)

        _in_widths(builder, n_, LINE_BYTES // size, emit)
        return builder.load(found)

    return signature, codegen


@intrinsic
def mark_above(typingctx, latency, at, p, start, n, level, step):
    """``latency[at+i] = min(latency[at+i], step)`` wherever ``p[start+i]`` is over ``level``; i < n."""
    signature = types.void(latency, types.intp, p, types.intp, types.intp, p.dtype, types.uint8)

    def codegen(context, builder, sig, args):
        lat_, at_, p_, start_, n_, level_, step_ = args
        lat_t, _, p_t = sig.args[:3]
        size = p_t.dtype.bitwidth // 8

        def emit(offset, blocks):
            vector = _vector(context, p_t, blocks)
            bytes_t = ir.VectorType(ir.IntType(8), vector.count)
            values = _load(
                builder, pointer(context, builder, p_t, p_, builder.add(start_, offset), vector.count), vector, size
            )
            over = builder.fcmp_ordered(">", values, _splat(builder, level_, vector))
            target = pointer(context, builder, lat_t, lat_, builder.add(at_, offset), vector.count)
            before = _load(builder, target, bytes_t, 1)
            now = builder.select(over, _splat(builder, step_, bytes_t), before)
            earlier = builder.icmp_unsigned("<", before, now)
            _store(builder, builder.select(earlier, before, now), target, 1)

        _in_widths(builder, n_, LINE_BYTES // size, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def highest_of(typingctx, p, at, count, n, highest, places, place):
    """For i < n the highest of ``p[at + row·n + i]`` over ``count`` rows, and the first row that has it.

    Into ``highest[place + i]`` and ``places[place + i]`` (int32).
    """
    signature = types.void(p, types.intp, types.intp, types.intp, highest, places, types.intp)

    def codegen(context, builder, sig, args):
        p_, at_, count_, n_, highest_, places_, place_ = args
        p_t, _, _, _, highest_t, places_t = sig.args[:6]
        size = p_t.dtype.bitwidth // 8
        first, one = ir.Constant(count_.type, 1), ir.Constant(count_.type, 1)

        def emit(offset, blocks):
            vector = _vector(context, p_t, blocks)
            numbers = ir.VectorType(ir.IntType(32), vector.count)

            def row(number):
                index = builder.add(builder.add(at_, offset), builder.mul(number, n_))
                return _load(builder, pointer(context, builder, p_t, p_, index, vector.count), vector, size)

            best, where = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, numbers)
            builder.store(row(ir.Constant(count_.type, 0)), best)
            builder.store(ir.Constant(numbers, None), where)
            with cgutils.for_range_slice(builder, first, count_, one, count_.type) as (number, _):
                new, old = row(number), builder.load(best)
                over = builder.fcmp_ordered(">", new, old)
                number = _splat(builder, builder.trunc(number, ir.IntType(32)), numbers)
                builder.store(builder.select(over, new, old), best)
                builder.store(builder.select(over, number, builder.load(where)), where)
            to = builder.add(place_, offset)
            top = pointer(context, builder, highest_t, highest_, to, vector.count)
            _store(builder, builder.load(best), top, size)
            _store(builder, builder.load(where), pointer(context, builder, places_t, places_, to, vector.count), 4)

        _in_widths(builder, n_, LINE_BYTES // size, emit)
        return context.get_dummy_value()

    return signature, codegen
