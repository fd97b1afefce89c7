"""Objects whose attributes cannot be assigned where that would do nothing.

A model that has run holds prepared calls on its own arrays: `model.params = other` would be ignored
in silence. Such an assignment is refused, with what to write instead.
"""

from typing import Any, ClassVar

from gpt_numpy.base.errors import InputError, did_you_mean


class Guarded:
    """Refuses to assign a public attribute once it is set, unless `CHANGEABLE` names it.

    `INSTEAD` says for some names what to write instead, KIND standing for the name of the class. A
    class sets `_complete` to True at the end of `__init__`; from then on unknown public attributes
    are refused, too.

    Raises
    ------
    InputError : on such an assignment.
    """

    CHANGEABLE: ClassVar[tuple[str, ...]] = ()
    INSTEAD: ClassVar[dict[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_":
            super().__setattr__(name, value)
            return
        kind = type(self).__name__
        known = name in self.__dict__ or hasattr(type(self), name)
        same = (
            name in self.__dict__ and self.__dict__[name] is value
        )  # as `arrays.flat += 1` assigns, once it has added
        if name in self.CHANGEABLE or same:
            pass
        elif known:
            instead = self.instead_of(name) or f"it is fixed when the {kind} is made"
            raise InputError(f"{kind}.{name} cannot be assigned: {instead}")
        elif "_complete" in self.__dict__:
            hint = self.instead_of(name) or did_you_mean(name, self.CHANGEABLE)
            raise InputError(
                f"{kind} has no attribute {name!r}, so assigning it does nothing: {hint}"
            )
        super().__setattr__(name, value)

    def instead_of(self, name: str) -> str:
        """What to write instead of assigning an attribute; "" if nothing is said of it."""
        return self.INSTEAD.get(name, "").replace("KIND", type(self).__name__)
