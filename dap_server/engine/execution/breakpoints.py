"""Breakpoints resolved against a model: which modules, pseudo-modules and operations they stand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from dap_server.conditions.deferred.deferring import why_at_once
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import Condition, parse_condition
from dap_server.conditions.filters import FILTERS, Filter
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import LogMessage, parse_log_message
from dap_server.conditions.names import PLACES_OF, BasePlace, FilterId, PlaceKind
from dap_server.conditions.phases import check
from dap_server.engine.anatomy.modules import Anatomy, is_called
from dap_server.engine.anatomy.nonlinearities import is_nonlinearity
from dap_server.engine.anatomy.processors import is_logits_processor
from dap_server.engine.anatomy.regions import Regions
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.costs import Cost
from dap_server.engine.execution.hit_log import HitLog
from dap_server.engine.execution.known_operations import find_operations
from dap_server.engine.execution.reasons import DATA_HIT, HIT, INSTRUCTION_HIT, LINE_HIT, RAISED
from dap_server.engine.execution.watchable import CannotWatch, watch_of
from dap_server.engine.execution.watching import Watch
from dap_server.modelmap.addresses import AddressError, parse_address
from dap_server.modelmap.patterns import WHOLE_MODEL, Pattern, PatternError, parse_pattern
from dap_server.modelmap.places import LOGITS, PSEUDO_MODULES, SAMPLE, STEP, Phase
from dap_server.protocol.errors import did_you_mean

Judged = Literal["at once", "once a step"]
Kind = Literal["function", "line", "instruction", "exception", "data"]
PSEUDO_KINDS: dict[str, BasePlace] = {STEP: "step", LOGITS: "logits", SAMPLE: "sample"}
REASONS: dict[Kind, str] = {
    "function": HIT,
    "line": LINE_HIT,
    "instruction": INSTRUCTION_HIT,
    "exception": RAISED,
    "data": DATA_HIT,
}

FOUND_LATE: tuple[FilterId, ...] = ("nonFinite", "forwardError")
"""Filters that are never judged where a run passes: that would cost more than the whole model."""


@dataclass(frozen=True)
class Wanted:
    """A breakpoint as its client describes it.

    Attributes:
        name: a pattern, what a line of a map names, an address, the id of a filter, or what is watched.
        phase: what its column or mode asks for; None leaves it to its condition, and else it is `before`.
        class_name: what the line of a map says of the module; None where it names token selection.
    """

    id: int
    name: str
    kind: Kind = "function"
    phase: Phase | None = None
    class_name: str | None = None
    condition: str | None = None
    hit_condition: str | None = None
    log_message: str | None = None


@dataclass
class Breakpoint:
    """One breakpoint of a client, and where it stands.

    Attributes:
        paths: of the modules it matches, in tree order.
        pseudo: name of the pseudo-module it stands on.
        operations: names of the operations it stands on, inside of `paths` if there are some.
        address: of the one operation it stands on.
        kind: how it was set.
        condition, log_message: of whose names a `Judge` knows the values.
        hits: counted for its hit condition; None without one.
        filter: of anomalies, that it is.
        watch: the value that it watches.
        is_off: whether its condition has raised.
        cost: of judging it, in the present run.
        told_cost: what has been told of that.
        why_at_once: why it has to be judged where the run passes it; None where that can wait.
        is_deferred: whether a flag on the device tells, once a step, if it has been hit; else it is judged at once.
        note: what else there is to say of it.
        problem: why it cannot be hit; None when it can.
    """

    id: int
    name: str
    phase: Phase = "before"
    paths: list[str] = field(default_factory=list)
    pseudo: str | None = None
    operations: frozenset[str] = frozenset()
    address: int = 0
    kind: Kind = "function"
    condition: Condition | None = None
    log_message: LogMessage | None = None
    hits: HitLog | None = None
    filter: Filter | None = None
    watch: Watch | None = None
    is_off: bool = False
    is_deferred: bool = False
    why_at_once: str | None = None
    cost: Cost = field(default_factory=Cost)
    told_cost: str | None = None
    wanted: Wanted | None = None
    note: str | None = None
    problem: str | None = None

    @property
    def is_verified(self) -> bool:
        return self.problem is None

    @cached_property
    def is_plain(self) -> bool:
        """Whether it stops the run whenever it is hit."""
        asks_nothing = self.condition is None and self.log_message is None and self.hits is None
        return asks_nothing and self.filter is None and self.watch is None

    @property
    def module_places(self) -> list[tuple[str, Phase]]:
        """The modules that it stands on, operations inside of them left out."""
        if self.watch is not None:
            return self.watch.modules
        return [] if self.operations else [(path, self.phase) for path in self.paths]

    @property
    def pseudo_places(self) -> list[tuple[str, Phase]]:
        if self.watch is not None:
            return self.watch.pseudo
        if not self.pseudo:
            return []
        return [(self.pseudo, "before" if self.paths else self.phase)]  # beside modules it is what comes in

    @property
    def place_count(self) -> int:
        """On how many modules, and places outside of them, it stands."""
        return len(self.paths) + bool(self.pseudo) if self.watch is None else self.watch.place_count

    def is_filter(self, *ids: FilterId) -> bool:
        """Whether it is one of these filters of anomalies."""
        return self.filter is not None and self.filter.id in ids

    def uses(self, name: str) -> bool:
        """Whether its condition or log message has a name."""
        return any(name in read.names for read in (self.condition, self.log_message) if read is not None)

    @property
    def hears_calls(self) -> bool:
        """Whether what its texts name is heard from the beginning of a module call."""
        return any(read.needs for read in (self.condition, self.log_message) if read is not None)

    @property
    def message(self) -> str | None:
        """What to tell the client beside `verified`."""
        if self.problem:
            return self.problem
        places = self.note or (f"{self.place_count} places" if self.place_count > 1 else None)
        how = None if self.condition is None else f"judged {self.judged}"
        return "; ".join(part for part in (places, how, self.told_cost) if part) or None

    @property
    def can_be_deferred(self) -> bool:
        """Whether it can be told from a flag that is read later if it is hit."""
        return self.is_verified and self.is_timely and self.why_at_once is None

    @property
    def is_timely(self) -> bool:
        """Whether its condition is worked out where it stands; that of the whole model's values is not."""
        return self.condition is not None and not self.is_filter(*FOUND_LATE)

    @property
    def judged(self) -> Judged:
        """When its condition is."""
        return "once a step" if self.is_deferred else "at once"


def place(wanted: Wanted, anatomy: Anatomy, regions: Regions, vocabulary: Vocabulary | None = None) -> Breakpoint:
    """Finds where a breakpoint stands in this model, and reads what it asks of the places there."""
    if wanted.kind == "instruction":
        breakpoint = resolve_address(wanted.id, wanted.name, regions)
    elif wanted.kind == "line":
        breakpoint = resolve_line(wanted, anatomy)
    elif wanted.kind == "exception":
        breakpoint = resolve_filter(wanted, anatomy)
    elif wanted.kind == "data":
        breakpoint = resolve_data(wanted, anatomy, vocabulary or Vocabulary(None))
    else:
        breakpoint = resolve(wanted.id, wanted.name, anatomy)
    breakpoint.wanted = wanted
    breakpoint.is_deferred = breakpoint.is_filter(*FOUND_LATE)
    if breakpoint.is_verified:
        _read_conditions(breakpoint, wanted, anatomy)
        breakpoint.why_at_once = _why_at_once(breakpoint)
    return breakpoint


def _read_conditions(breakpoint: Breakpoint, wanted: Wanted, anatomy: Anatomy) -> None:
    """A text that is only blank is none, as clients send it."""
    asked: Phase | None = wanted.phase
    if wanted.kind == "function":
        asked = parse_pattern(wanted.name).phase or asked
    elif wanted.kind in ("exception", "data") or (wanted.kind == "instruction" and not breakpoint.address):
        asked = breakpoint.phase  # an address at an end of a module says which
    try:
        default = breakpoint.filter.condition if breakpoint.filter is not None else None
        if (text := wanted.condition or default) and text.strip():
            breakpoint.condition = parse_condition(text)
        if (text := wanted.log_message) and text.strip():
            breakpoint.log_message = parse_log_message(text)
        if (text := wanted.hit_condition) and text.strip():
            breakpoint.hits = HitLog(parse_hit_condition(text))
        breakpoint.phase = check(breakpoint.condition, _place_kind(breakpoint), asked, breakpoint.log_message)
    except ConditionError as error:
        breakpoint.problem = str(error)
        return
    for name in ("residual", "lens"):
        if breakpoint.uses(name) and not any(path in anatomy.layer_paths for path in breakpoint.paths):
            example = f", such as {anatomy.layer_paths[0]}" if anatomy.layer_paths else ", and this one has none"
            breakpoint.problem = f"'{name}' is known at the layers of a model only{example}"


def _why_at_once(breakpoint: Breakpoint) -> str | None:
    if breakpoint.is_deferred or breakpoint.condition is None:
        return None
    if breakpoint.watch is not None:
        return "what is watched is compared with what it was"
    if breakpoint.log_message is not None:
        return "its message is about the moment"
    if breakpoint.pseudo not in (None, SAMPLE):
        return "the decode loop waits for the token there anyway"
    if breakpoint.operations or breakpoint.address:
        return "operations are seen one by one"
    if breakpoint.hears_calls:
        return "attention is heard while its module runs"
    return why_at_once(breakpoint.condition)


def _place_kind(breakpoint: Breakpoint) -> PlaceKind:
    if breakpoint.filter is not None:
        return breakpoint.filter.id
    if breakpoint.watch is not None:
        return "data"
    if breakpoint.operations or breakpoint.address:
        return "operation"
    if breakpoint.pseudo is None:
        return "module"
    return PSEUDO_KINDS.get(breakpoint.pseudo, "processor")


def resolve_data(wanted: Wanted, anatomy: Anatomy, vocabulary: Vocabulary) -> Breakpoint:
    """Finds the value that a data breakpoint watches."""
    try:
        watch = watch_of(wanted.name, anatomy, vocabulary)
    except CannotWatch as error:
        return Breakpoint(wanted.id, wanted.name, kind="data", problem=str(error))
    breakpoint = Breakpoint(wanted.id, watch.title, kind="data", watch=watch, note=watch.note)
    if watch.owner is None and watch.modules:
        breakpoint.paths = [path for path, _ in watch.modules]
    elif watch.owner is None:
        breakpoint.pseudo = SAMPLE
    return breakpoint


def resolve_filter(wanted: Wanted, anatomy: Anatomy) -> Breakpoint:
    """Finds the places of a filter of anomalies."""
    filter = FILTERS.get(wanted.name)
    if filter is None:
        return Breakpoint(wanted.id, wanted.name, kind="exception", problem=f"no filter '{wanted.name}'")
    base, phase = PLACES_OF[filter.id]
    breakpoint = Breakpoint(wanted.id, filter.label, phase, kind="exception", filter=filter)
    if filter.id == "forwardError":
        return breakpoint
    if base != "module":
        breakpoint.pseudo = base
        return breakpoint
    called = [path for path, module in anatomy.modules.items() if is_called(module)]
    if filter.id in ("residual", "attention"):
        breakpoint.paths, what = list(anatomy.layer_paths), "no layers"
    elif filter.id == "deadActivations":
        breakpoint.paths = [path for path in called if is_nonlinearity(anatomy.modules[path])]
        what = "no activation functions that are modules"
    else:
        breakpoint.paths, what = called, "no modules"
        breakpoint.pseudo = SAMPLE if filter.id == "nonFinite" else None
    if not breakpoint.paths:
        breakpoint.problem = f"{type(anatomy.model).__name__} has {what}"
    return breakpoint


def resolve_line(wanted: Wanted, anatomy: Anatomy) -> Breakpoint:
    """Finds what a line of a map names: a module by its very path, `.` for the whole model, or a pseudo-module."""
    breakpoint = Breakpoint(wanted.id, wanted.name, wanted.phase or "before", kind="line")
    path = "" if wanted.name == WHOLE_MODEL else wanted.name
    if not wanted.class_name and (path in PSEUDO_MODULES or is_logits_processor(path)):
        breakpoint.pseudo = path
        return breakpoint
    if path not in anatomy.modules:
        model = type(anatomy.model).__name__
        breakpoint.problem = f"{model} has no module '{path}'{did_you_mean(path, anatomy.modules)}"
        return breakpoint
    kind = type(anatomy.modules[path]).__name__
    if wanted.class_name and wanted.class_name != kind:
        what = f"'{path}' is" if path else "the loaded model is"
        breakpoint.problem = f"{what} {kind}, not {wanted.class_name}: this map is of another model"
    elif not is_called(anatomy.modules[path]):
        breakpoint.problem = _is_list(path)
    else:
        breakpoint.paths = [path]
    return breakpoint


def resolve(id: int, name: str, anatomy: Anatomy) -> Breakpoint:
    """Finds what a function breakpoint names in this model."""
    try:
        pattern = parse_pattern(name)
    except PatternError as error:
        return Breakpoint(id, name, problem=str(error))
    breakpoint = Breakpoint(id, name, pattern.phase or "before")
    if pattern.operation is not None:
        found = find_operations(pattern.operation)
        breakpoint.operations, breakpoint.note, breakpoint.problem = found
        if _is_hidden_by_kernels(found.names, anatomy):
            breakpoint.note = f"{found.note or ''}; {HIDDEN}".removeprefix("; ")
        if not pattern.text or breakpoint.problem:
            return breakpoint
    elif pattern.text in PSEUDO_MODULES or is_logits_processor(pattern.text):
        breakpoint.pseudo = pattern.text
        return breakpoint
    breakpoint.paths = matching_paths(pattern, anatomy)
    if not breakpoint.paths:
        breakpoint.problem = _nothing_found(pattern, anatomy)
    elif pattern.operation is None and not any(is_called(anatomy.modules[path]) for path in breakpoint.paths):
        breakpoint.problem = _is_list(breakpoint.paths[0])
    return breakpoint


HIDDEN = "attention runs in one operation here: with attnImplementation 'eager' it has a softmax"


def _is_hidden_by_kernels(names: frozenset[str], anatomy: Anatomy) -> bool:
    """Whether nothing but the softmax of attention is meant, in a model whose attention is one kernel."""
    kernel = getattr(getattr(anatomy.model, "config", None), "_attn_implementation", None)
    return kernel not in (None, "eager") and bool(names) and names <= {"aten::softmax", "aten::_softmax"}


def resolve_address(id: int, text: str, regions: Regions) -> Breakpoint:
    """Finds what stands at an address; the beginning and the end of a module are places of the module itself."""
    breakpoint = Breakpoint(id, text, kind="instruction")
    try:
        address = parse_address(text)
    except AddressError as error:
        breakpoint.problem = str(error)
        return breakpoint
    found = regions.at(address)
    if found is None:
        breakpoint.problem = f"{text} lies in no module of this model: 'disassemble' lists its addresses"
        return breakpoint
    path, phase, number = found
    if number:
        breakpoint.address = address
    else:
        breakpoint.paths, breakpoint.phase = [path], phase
    return breakpoint


def matching_paths(pattern: Pattern, anatomy: Anatomy) -> list[str]:
    """The modules that a path, a glob or a class names."""
    if pattern.text == WHOLE_MODEL:
        return [""]
    by_path = [path for path in anatomy.modules if path and pattern.matches_path(path)]
    if by_path:
        return [path for path in by_path if is_called(anatomy.modules[path])] or by_path
    return [path for path, module in anatomy.modules.items() if pattern.matches_class(type(module).__name__)]


def _is_list(path: str) -> str:
    return f"'{path}' is a list of modules, which is not called itself: take one of them"


def why_never_called(path: str, anatomy: Anatomy) -> str | None:
    """Why no step calls a module of that path; None for one that can be named."""
    if path not in anatomy.modules:
        return f"no module '{path}'{did_you_mean(path, anatomy.modules)}"
    if not is_called(anatomy.modules[path]):
        return f"'{path}' is a list of modules, which is not called itself: name one of them,"
    return None


def _nothing_found(pattern: Pattern, anatomy: Anatomy) -> str:
    classes = {type(module).__name__ for module in anatomy.modules.values()}
    known = [path for path in anatomy.modules if path] + sorted(classes) + list(PSEUDO_MODULES)
    name = type(anatomy.model).__name__
    return f"no module or class of {name} matches '{pattern.text}'{did_you_mean(pattern.text, known)}"
