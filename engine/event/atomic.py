"""Numbers that several threads read and change: int64 arrays (n,), accessed whole and in order.

Whoever reads what another thread has stored here also sees all that it had written anywhere before.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.event.simd import pointer


@intrinsic
def load(typingctx, array, i):
    """``array[i]``."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(pointer(context, builder, sig.args[0], *args), "acquire", 8)

    return types.int64(array, types.intp), codegen


@intrinsic
def store(typingctx, array, i, value):
    """``array[i] = value``."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], pointer(context, builder, sig.args[0], *args[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def replace(typingctx, array, i, expected, value):
    """``array[i] = value`` if ``expected`` is there; returns whether it was."""

    def codegen(context, builder, sig, args):
        place = pointer(context, builder, sig.args[0], *args[:2])
        result = builder.cmpxchg(place, args[2], args[3], "acq_rel", "acquire")
        return cgutils.as_bool_bit(builder, builder.extract_value(result, 1))

    return types.boolean(array, types.intp, types.int64, types.int64), codegen
