"""Atomic counters: workers draw tasks, and signal that a part is done, within one launch.

The writes of a worker before `arrive` are visible to every worker that reads a later count.
"""

import os
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

DONE = 16  # where the count stands: on another cache line than the number of the next task


def _done(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [ir.Constant(ir.IntType(64), DONE)])


@intrinsic
def arrive(typing: Any, counter: Any) -> Any:
    """Count one more task as done."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _done(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counter), generate


@intrinsic
def arrived(typing: Any, counter: Any) -> Any:
    """The number of tasks that are done."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_done(context, builder, signature, arguments), "acquire", 8)

    return types.int64(counter), generate


@intrinsic
def yield_processor(typing: Any) -> Any:
    """Let another thread run that waits for this processor (POSIX; elsewhere nothing)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if os.name == "posix":
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def take(typing: Any, counter: Any, at: Any) -> Any:
    """The value of counter[at], which grows by one: workers draw their tasks from it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.gep(data, [arguments[1]])
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter, types.int64), generate
