"""The networks, by name. Every module here that declares a ``NetworkTrainer`` with a name adds itself."""

from importlib import import_module
from pkgutil import iter_modules

from errors import InputError

_classes = {}


def register(cls):
    for name in (cls.name, *cls.aliases):
        if _classes.setdefault(name, cls) is not cls:
            raise ValueError(f"two networks are called {name!r}")
        if "MODELS" in globals():  # declared elsewhere, after the networks here were listed
            globals()["MODELS"][name] = cls


def __getattr__(attribute):
    # MODELS is made when it is asked for: the networks import NetworkTrainer, which imports models.layers from here.
    if attribute != "MODELS":
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    globals()["MODELS"] = dict(sorted(_classes.items()))
    return globals()["MODELS"]


def build_model(name, **kwargs):
    """A new network; ``kwargs`` (in_channels, num_classes, seed, device, dtype, …) are those of ``NetworkTrainer``.

    Errors: InputError for an unknown name.
    """
    return model_class(name)(**kwargs)


def model_class(name):
    """The class of a network's name or alias. Errors: InputError for an unknown name."""
    models = __getattr__("MODELS") if "MODELS" not in globals() else globals()["MODELS"]
    if name not in models:
        raise InputError(f"unknown model {name!r}; there are {', '.join(models)}")
    return models[name]
