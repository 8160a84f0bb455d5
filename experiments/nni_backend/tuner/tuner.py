"""Our tuner inside NNI: it asks the study, through whichever strategy the config names.

NNI gives it `classArgs: {config: PATH}`, an experiment's config: space, budget and strategy; and,
where that is not the config of a run already, `run_dir`, where the study is kept [default:
runs/NAME beside the config]. The study is the truth: parameter ids are its trials' numbers, what
NNI imports on resuming is not needed, and a trial that an earlier run left is given out again under
its number.

Only light imports stand at the top: the manager waits for the tuner to connect.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nni.tuner import Tuner as NNITuner

from .host import host_here
from .json_as_data import read_json_as_data
from .manager_watch import end_with_manager

if TYPE_CHECKING:
    from .study import TunerStudy

_log = logging.getLogger(__name__)
_SETTLE = 2.0
"""Seconds between a trial's end and the question whether it reported: NNI sends both at once."""

Method = TypeVar("Method", bound=Callable[..., Any])


def _or_end(method: Method) -> Method:
    """An exception here would leave NNI running for ever: it ends the run, with the reason."""

    @functools.wraps(method)
    def wrapped(self: Tuner, *args: Any, **kwargs: Any) -> Any:
        if self._dispatcher is None:
            # NNI's own object that calls us; only it can tell the manager of an error.
            caller = sys._getframe(1).f_locals.get("self")
            self._dispatcher = caller if hasattr(caller, "report_error") else None
        try:
            with self.lock:
                return method(self, *args, **kwargs)
        except Exception as e:
            traceback.print_exc()
            from ....search_space.errors import InputError

            self.end(str(e) if isinstance(e, InputError) else f"{type(e).__name__}: {e}")
            raise

    return cast(Method, wrapped)


class Tuner(NNITuner):  # type: ignore[misc]
    """See above. Every method may be called from either of NNI's two threads."""

    def __init__(self, config: str, run_dir: str | None = None) -> None:
        self.lock = threading.RLock()
        self._config, self._run_dir = config, run_dir
        self._started = False
        self._dispatcher: Any = None
        self._host = host_here(self._stop_early)
        self._study: TunerStudy | None = None
        read_json_as_data()
        end_with_manager()

    @_or_end
    def update_search_space(self, search_space: dict[str, Any]) -> None:
        if self._study is not None:
            _log.warning("the search space is the config's, and stays as it is")
            return
        self._study = self._host.open(self._config, self._run_dir)

    @_or_end
    def generate_multiple_parameters(
        self, parameter_id_list: list[int], **kwargs: Any
    ) -> list[dict[str, Any]]:
        assert self._study is not None
        if not self._started:
            self._started = True
            self._go_on(self._dispatcher.recovered_trial_params)
        given = []
        for _ in range(self._host.room(len(parameter_id_list))):
            proposal = self._study.next()
            if proposal is None:
                self._host.nothing_left(self._study.exhausted)
                break
            self._host.given(proposal)
            given.append(proposal)
        # NNI numbers by this list; the numbers of the study do not start again after a resume.
        numbers = [proposal.trial.number for proposal in given]
        parameter_id_list[:] = numbers + [-1] * (len(parameter_id_list) - len(numbers))
        return [self._study.nni_parameters(proposal) for proposal in given]

    @_or_end
    def receive_trial_result(
        self, parameter_id: int, parameters: Any, value: Any, **kwargs: Any
    ) -> None:
        self._host.result(parameter_id, value, str(kwargs["trial_job_id"]))
        if isinstance(value, dict) and value.get("pruned"):
            self._stop_early(str(kwargs["trial_job_id"]))  # the trial waits for it

    def _stop_early(self, job: str) -> None:
        """Have NNI end its trial `job`, which it then shows as early stopped."""
        from nni.runtime.tuner_command_channel import CommandType

        if self._dispatcher is not None:
            self._dispatcher.send(CommandType.KillTrialJob, f'"{job}"')

    def trial_end(self, parameter_id: int, success: bool, **kwargs: Any) -> None:
        timer = threading.Timer(_SETTLE, self._settle, (parameter_id, success))
        timer.daemon = True
        timer.start()

    @_or_end
    def _settle(self, parameter_id: int, success: bool) -> None:
        self._host.ended(parameter_id, success)

    def _go_on(self, recovered: dict[int, Any]) -> None:
        """Adopt what an earlier run left, but not the `recovered` trials: NNI starts them again."""
        assert self._study is not None
        self._study.start(but=recovered)
        # NNI hears no result of a recovered trial, nor of any with a lower number; ours go on.
        self._dispatcher.recovered_max_param_id = -1
        from nni.runtime import msg_dispatcher

        msg_dispatcher._trial_params.update(recovered)

    def import_data(self, data: list[dict[str, Any]]) -> None:
        """What NNI believes to have been tried: the study knows."""

    def end(self, reason: str) -> None:
        """End the run, saying why to whoever launched it and to NNI's own status."""
        self._host.fatal(reason)
        if self._dispatcher is not None:
            self._dispatcher.report_error(reason)

    def _on_exit(self) -> None:
        self._host.close()
        os._exit(0)  # whatever thread still sleeps
