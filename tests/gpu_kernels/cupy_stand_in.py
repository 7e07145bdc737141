"""CuPy as far as the kernels use it, over NumPy and beside the CUDA simulator.

What a device punishes is punished here. Nothing is done before somebody waits for it, so that what
is not in order comes out wrong: streams hold back their work, and know of each other's by events
alone. No array of the host is taken for one of the device, and none of the device becomes one of
the host by itself. What is recorded as a graph may wait for nothing. Functions and options that
CuPy 14 has not, or that nobody looked up, are not here.
"""

import ctypes
import itertools
import runpy
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import scipy.fft
from numba import cuda
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernel import FakeCUDAKernel

BLOCKS = runpy.run_path(str(Path(__file__).with_name("simulated_blocks.py")))
nothing = BLOCKS["nothing"]

FUNCTIONS = (
    "abs", "arange", "arctan", "arctan2", "argmax", "clip", "concatenate", "exp", "full", "hypot",
    "isfinite", "isnan", "maximum", "minimum", "nan_to_num", "nanmean", "ones", "sin", "sqrt",
    "stack", "where",
)  # fmt: skip
TRANSFORMS = ("fft", "ifft", "fft2", "ifft2", "rfft", "rfft2", "irfft", "irfft2", "dctn", "idctn")


class Stream:
    """Work in order, done as late as it may be."""

    _numbers = itertools.count(1000)
    known: dict[int, "Stream"] = {}  # noqa: RUF012
    local = threading.local()

    def __init__(self, null=False, non_blocking=False):
        assert null or non_blocking, "a stream that waits for the default one is not here"
        self.ptr = 0 if null else next(self._numbers)
        self._todo, self._done, self._queued, self._recorded = [], 0, 0, None
        self.known[self.ptr] = self

    def do(self, work):
        """Queue work, or record it."""
        if self._recorded is not None:
            self._recorded.append(work)
            return
        self._todo.append(work)
        self._queued += 1

    def reach(self, upto):
        """Do what was queued first, up to a number."""
        while self._done < upto:
            work = self._todo.pop(0)
            self._done += 1
            work()

    def synchronize(self):
        """Do all."""
        if self._recorded is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: the host waits in a recording")
        self.reach(self._queued)

    def record(self):
        """An event: what was queued so far."""
        upto = self._queued
        return SimpleNamespace(stream=self, upto=upto, synchronize=lambda: self.reach(upto))

    def wait_event(self, event):
        """Let what is queued from now on come after an event."""
        self.do(lambda: event.stream.reach(event.upto))

    def begin_capture(self):
        """From here on work is recorded."""
        self._recorded = []

    def end_capture(self):
        """The recording."""
        recorded, self._recorded = self._recorded, None

        def launch(stream):
            for work in recorded:
                stream.do(work)

        return SimpleNamespace(launch=launch)

    def __enter__(self):
        self.stack().append(self)
        return self

    def __exit__(self, *_):
        self.stack().pop()

    @classmethod
    def stack(cls):
        """Streams that were entered in this thread."""
        if not hasattr(cls.local, "stack"):
            cls.local.stack = []
        return cls.local.stack


NULL = Stream(null=True)


def current():
    """The stream that functions of the library queue their work on."""
    return Stream.stack()[-1] if Stream.stack() else NULL


class Array:
    """An array on the device."""

    def __init__(self, host):
        self._host = host

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data))
    __cuda_array_interface__ = property(lambda self: self._host.__array_interface__)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use to_host")

    def __array_ufunc__(self, ufunc, method, *given, **named):
        return _later(getattr(ufunc, method), *given, **named)

    def __array_function__(self, *_):
        raise TypeError("a function of NumPy is given an array of the device")

    def get(self):
        """Wait, and copy to the host."""
        current().synchronize()
        return self._host.copy()

    def set(self, host, stream=None):
        """Copy from the host, whose pinned memory is read when its turn comes."""
        stream = stream or current()
        assert (host.shape, host.dtype) == (self.shape, self.dtype)
        assert host.flags.c_contiguous & self._host.flags.c_contiguous
        if stream._recorded is not None:
            raise RuntimeError("set refuses to be recorded")
        stream.do(lambda: np.copyto(self._host, host))

    def fill(self, value):
        """Fill with a number."""
        current().do(lambda: self._host.fill(value))

    def reshape(self, *shape):
        """A view where it can be one."""
        return _later(np.ndarray.reshape, self, *shape)

    def view(self, dtype):
        """The same memory as another type."""
        return Array(self._host.view(dtype))

    def astype(self, dtype, copy=True):
        """In another type."""
        if not copy and self.dtype == dtype:
            return self
        return _later(np.ndarray.astype, self, dtype)

    def copy(self):
        """With memory of its own."""
        return _later(np.ndarray.copy, self)

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(one, (Array, np.ndarray, list)) for one in keys):
            current().synchronize()  # numbers of what is not worked out yet are none
        found = self._host[_there(key)]
        if np.may_share_memory(found, self._host):
            return Array(found)
        return Array(np.array(found))

    def __setitem__(self, key, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("an array of the host is put into one of the device")
        key, value = _there(key), _there(value)
        current().do(lambda: self._host.__setitem__(key, value))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[at] for at in range(len(self)))

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __index__(self):
        return self.get().__index__()

    def item(self):
        """The number on the host."""
        return self.get().item()

    real = property(lambda self: Array(self._host.real))
    imag = property(lambda self: Array(self._host.imag))
    T = property(lambda self: Array(self._host.T))


def _method(name):
    return lambda self, *given, **named: _later(getattr(np.ndarray, name), self, *given, **named)


for _name in (
    "sum", "max", "min", "mean", "all", "any", "argmax", "conj", "ravel", "squeeze", "swapaxes",
    "transpose", "clip",
    "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__",
    "__rtruediv__", "__pow__", "__rpow__", "__floordiv__", "__matmul__", "__mod__", "__neg__",
    "__abs__", "__invert__", "__and__", "__or__", "__xor__", "__lt__", "__le__",
    "__gt__", "__ge__", "__eq__", "__ne__",
):  # fmt: skip
    setattr(Array, _name, _method(_name))


def _in_place(name):
    def change(self, other):
        given = _there(_only_device(other))
        current().do(lambda: getattr(np.ndarray, name)(self._host, given))
        return self

    return change


for _name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__"):
    setattr(Array, _name, _in_place(_name))
Array.__hash__ = None


def _only_device(value):
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: an array of the host, {value.shape}")
    return value


def _there(value):
    """What a stand-in holds; views see what is done later."""
    if isinstance(value, tuple):
        return tuple(_there(one) for one in value)
    if isinstance(value, list):
        return [_there(one) for one in value]
    return value._host if isinstance(value, Array) else value


def _later(function, *given, **named):
    """Queue a function whose result has memory of its own; views are given at once."""
    for one in itertools.chain(given, named.values()):
        for value in one if isinstance(one, (list, tuple)) else (one,):
            _only_device(value)
    given, named = _there(given), {name: _there(one) for name, one in named.items()}
    with np.errstate(all="ignore"):  # of what may not be worked out yet, for its shape alone
        found = function(*given, **named)
    inputs = [one for one in given if isinstance(one, np.ndarray)]
    if isinstance(found, np.ndarray) and any(np.shares_memory(found, one) for one in inputs):
        return Array(found)
    found = np.array(found)
    found.fill(nothing(found.dtype))

    def work():
        with np.errstate(all="ignore"):
            np.copyto(found, function(*given, **named))

    current().do(work)
    return Array(found)


def asarray(value, dtype=None):
    """Copy to the device what is not there."""
    if isinstance(value, FakeCUDAArray):
        value = Array(value._ary)
    if isinstance(value, Array):
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)
    if current()._recorded is not None:
        raise RuntimeError("memory that is not pinned is copied in a recording")
    taken = np.array(value, dtype=dtype, order="C")
    found = np.empty_like(taken)
    current().do(lambda: np.copyto(found, taken))
    return Array(found)


def empty(shape, dtype=float):
    """Memory in which anything may lie."""
    return Array(np.full(shape, nothing(dtype), dtype))


def zeros(shape, dtype=float):
    """Zeros, once their turn has come."""
    found = empty(shape, dtype)
    found.fill(0)
    return found


def _function(name):
    return lambda *given, **named: _later(getattr(np, name), *given, **named)


def _transform(name, library):
    """A transform; a plan is to be one for what it is given."""

    def transform(array, *given, plan=None, **named):
        refused = set(named) - {"n", "s", "axis", "axes", "norm", "type", "overwrite_x"}
        if refused or (library == "numpy" and (plan is not None or "overwrite_x" in named)):
            raise TypeError(f"{name} of CuPy takes no {refused or 'plan'}")
        if not isinstance(array, Array):
            raise TypeError(f"a transform on the device of {type(array)}")
        if plan is not None:
            assert (plan.shape, plan.dtype) == (array.shape, array.dtype), "another array's plan"
        spoilt = named.pop("overwrite_x", False)
        found = _later(getattr(scipy.fft, name), array, *given, **named)
        if spoilt:
            array.fill(nothing(array.dtype))
        return found

    return transform


def get_fft_plan(array, shape=None, axes=None, value_type="C2C"):
    """A plan for a transform of arrays of this shape and type."""
    assert axes is not None
    assert value_type in ("C2C", "R2C", "C2R")
    return SimpleNamespace(shape=array.shape, dtype=array.dtype)


class PlanNd:
    """Transforms of one axis, in order of memory."""

    def __init__(
        self, shape, inembed, istride, idist, onembed, ostride, odist, fft_type, batch, order,
        last_axis, last_size,
    ):  # fmt: skip
        assert (inembed, istride, idist) == (onembed, ostride, odist) == (shape, batch, 1)
        assert (fft_type, order, last_axis, last_size) == (0x29, "C", 0, None)
        self._shape = (*shape, batch)

    def fft(self, given, found, direction):
        """Forward or back, without a norm."""
        assert given.dtype == found.dtype == np.complex64
        assert given.size == found.size == np.prod(self._shape)
        assert (given._host.flags.c_contiguous, direction) == (True, -1)
        here, there = given._host.reshape(self._shape), found._host.reshape(self._shape)
        current().do(lambda: np.copyto(there, scipy.fft.fft(here, axis=0)))


def memcpy_async(to, source, size, kind, stream):
    """Copy so many bytes from pinned memory."""
    assert kind == 1
    Stream.known[stream].do(lambda: ctypes.memmove(to, source, size))


class Launch:
    """A kernel with its grid, which takes what is on the device."""

    def __init__(self, kernel, configuration):
        self._kernel, self._configuration = kernel, configuration

    def __call__(self, *given):
        hosts = [one.shape for one in given if isinstance(one, np.ndarray) and one.ndim]
        assert not hosts, f"{self._kernel.fn.__name__} is given arrays of the host: {hosts}"
        grid, block, stream, *_ = (*self._configuration, 0)
        given = [FakeCUDAArray(one._host) if isinstance(one, Array) else one for one in given]

        def work():
            self._kernel.grid_dim, self._kernel.block_dim = _of_three(grid), _of_three(block)
            FakeCUDAKernel.__call__(self._kernel, *given)

        Stream.known[stream].do(work)


def _of_three(size):
    sizes = size if isinstance(size, tuple) else (size,)
    return (*sizes, *(1,) * (3 - len(sizes)))


def synchronize():
    """Do all that was queued anywhere."""
    for stream in Stream.known.values():
        stream.synchronize()


@contextmanager
def using_allocator(_):
    """Memory of one's own: here all memory is."""
    yield


def modules():
    """What is imported as cupy and cupyx."""
    cupy, cupyx, cupyx_scipy = (ModuleType(name) for name in ("cupy", "cupyx", "cupyx.scipy"))
    fftpack, fft = ModuleType("cupyx.scipy.fftpack"), ModuleType("cupyx.scipy.fft")
    numpy_fft = SimpleNamespace(
        config=SimpleNamespace(get_plan_cache=lambda: SimpleNamespace(clear=lambda: None)),
    )
    for name in ("fftfreq", "rfftfreq"):
        make = getattr(np.fft, name)
        setattr(numpy_fft, name, lambda *given, make=make: _later(make, *given))
    for name in TRANSFORMS:
        setattr(fft, name, _transform(name, "scipy"))
        setattr(numpy_fft, name, _transform(name, "numpy"))
    fftpack.get_fft_plan = get_fft_plan
    for name in FUNCTIONS:
        setattr(cupy, name, _function(name))
    for name in ("float32", "float64", "complex64", "complex128", "int64", "nan", "pi", "newaxis"):
        setattr(cupy, name, getattr(np, name))
    pool = SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)
    cupy.ndarray, cupy.asarray, cupy.zeros, cupy.empty = Array, asarray, zeros, empty
    cupy.asnumpy, cupy.iscomplexobj = lambda array: array.get(), lambda a: a.dtype.kind == "c"
    cupy.fft, cupy.is_available = numpy_fft, lambda: True
    cupy.get_default_memory_pool = lambda: pool
    cupy.cuda = SimpleNamespace(
        Stream=Stream, get_current_stream=current, using_allocator=using_allocator,
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        cufft=SimpleNamespace(PlanNd=PlanNd, CUFFT_C2C=0x29, CUFFT_FORWARD=-1),
        runtime=SimpleNamespace(memcpyAsync=memcpy_async, memcpyHostToDevice=1),
    )  # fmt: skip
    cupyx.empty_pinned = np.empty
    cupyx.scipy, cupyx_scipy.fft, cupyx_scipy.fftpack = cupyx_scipy, fft, fftpack
    return (cupy, cupyx, cupyx_scipy, fft, fftpack)


def install():
    """Let all kernels find the stand-in, in the simulator."""
    found = modules()
    # Without cupy: Zarr and others would take it for the real one.
    sys.modules.update({one.__name__: one for one in found[1:]})
    FakeCUDAKernel.__getitem__ = lambda kernel, configuration: Launch(kernel, configuration)
    BLOCKS["install"]()
    cuda.external_stream = lambda ptr: ptr
    cuda.synchronize = synchronize
    from gpu_kernels import backend

    for module in [one for name, one in sys.modules.items() if name.startswith("gpu_kernels")]:
        for name, value in (("cupy", found[0]), ("cupyx", found[1])):
            if hasattr(module, name):
                setattr(module, name, value)
    backend._cupy_usable.cache_clear()
