"""What the phases of a step share, computed when the first of them asks for it."""

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

Compute = Callable[[bool], Mapping[str, Tensor]]


class SharedForward:
    """The shared forward of one part of a batch.

    Args:
        compute: Calls the pipeline's ``forward``, with a graph or without.
        is_kept: Whether a graph may wait for the phase that needs it. With several parts only values are kept, so that
            memory holds the graph of one part at a time.
    """

    def __init__(self, compute: Compute, is_kept: bool) -> None:
        self._compute, self._is_kept = compute, is_kept
        self._graph: Mapping[str, Tensor] | None = None
        self._values: dict[str, Tensor] | None = None

    def for_phase(self, is_constant: bool, is_needed_later: bool) -> Mapping[str, Tensor]:
        """Returns what the phases share.

        Args:
            is_constant: Whether the phase takes values alone.
            is_needed_later: Whether a phase that comes later in the step differentiates the graph.
        """
        if is_constant:
            if self._values is None:
                self._remember(self._compute(self._is_kept and is_needed_later))
            assert self._values is not None
            return self._values
        graph, self._graph = self._graph, None  # a graph is differentiated once
        if graph is None:
            graph = self._compute(True)
            if self._values is None:
                self._remember(graph, keep_graph=False)
        return graph

    def _remember(self, computed: Mapping[str, Tensor], keep_graph: bool = True) -> None:
        self._values = {name: tensor.detach() for name, tensor in computed.items()}
        if keep_graph and any(tensor.requires_grad for tensor in computed.values()):
            self._graph = computed


class LazyMapping(Mapping[str, Tensor]):
    """A mapping that is made when it is first read.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Mapping[str, Tensor]]) -> None:
        self._make, self._made = make, None  # type: Callable[[], Mapping[str, Tensor]], Mapping[str, Tensor] | None

    @property
    def is_read(self) -> bool:
        """Returns whether the mapping has been made."""
        return self._made is not None

    def read(self) -> Mapping[str, Tensor]:
        """Returns the mapping."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key: str) -> Tensor:
        return self.read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())
