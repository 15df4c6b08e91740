"""The life of a worker: load, warm up, say so, take jobs, leave when asked.

The main thread is the engine's: it makes the native calls of all jobs. Each job runs in one of
a few threads, its lane, from decoding to the staged transcript; three small threads listen to
the link, to SIGTERM, and send beats. The supervisor sends as many jobs as there is room for: those of
one round of the engine, and one that is prepared meanwhile. The process never ends through
the interpreter's exit: native libraries hang in theirs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Callable, NoReturn, Optional, Union

from supervisor.contract import child_bootstrap, clock, logline
from supervisor.contract.child_bootstrap import WorkerSettings
from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import (
    Drain,
    Failed,
    Failure,
    Help,
    Helped,
    Job,
    JobCard,
    PutDown,
    Room,
    StopJob,
    Stopped,
    ToWorker,
    Up,
)
from workerproc.engine import batch_tuning, rounds
from workerproc.engine.batch import Batch
from workerproc.process import errors, recycling, startup, telemetry
from workerproc.process.link import WorkerLink
from workerproc.process.progress import ProgressBoard, Ticket

if TYPE_CHECKING:
    # Heavy: imported in `_load`, when this process can be seen, stopped and asked already.
    from workerproc.engine.recogniser import Recogniser
    from workerproc.jobs.context import WorkerContext

log = logging.getLogger(__name__)

# What a worker can't go on with: what it says, the event, and its exit code.
_ENDS: Mapping[type[BaseException], tuple[str, str, Exit]] = {
    errors.ModelBroken: ("model cannot be used", "model-unusable", Exit.MODEL_BROKEN),
    errors.SettingsUnfit: ("settings do not fit the model", "settings-unfit", Exit.SETTINGS_WRONG),
    errors.MemoryLacking: ("model does not fit into memory", "model-out-of-memory", Exit.OUT_OF_MEMORY),
    errors.DeviceBroken: ("device cannot be used", "device-unusable", Exit.DEVICE_BROKEN),
}


def be_worker(settings: WorkerSettings) -> NoReturn:
    """Live this process's whole life. Never returns."""
    writer = logline.set_up("worker", settings.log_level)
    writer.addFilter(_stamp(settings.slot))

    def die(code: int) -> NoReturn:
        logline.die_quietly(code, writer)
        raise AssertionError("os._exit returned")

    worker = Worker(settings, WorkerLink(child_bootstrap.link(), die), die)
    try:
        worker.live()
    except tuple(_ENDS) as error:
        sentence, event, code = _ENDS[type(error)]
        facts = {"reason": str(error), "model": settings.model, "device": settings.device}
        log.error(sentence, extra={"event": event, **facts})
        die(code)
    except Exception:  # the interpreter's own way out may hang in a native library
        log.exception("worker ended on an unexpected error", extra={"event": "worker-failed"})
        die(Exit.FAILED)
    die(Exit.OK)


def _stamp(slot: str) -> Callable[[logging.LogRecord], bool]:
    def add(record: logging.LogRecord) -> bool:
        record.slot = slot
        return True

    return add


class Worker:
    """One worker from its first beat to its last job."""

    def __init__(self, settings: WorkerSettings, link: WorkerLink, die: Callable[[int], NoReturn]) -> None:
        self._settings = settings
        self._link = link
        self._die = die
        self._board = ProgressBoard()
        # Each with its place on the board; None: leave.
        self._inbox: queue.SimpleQueue[Optional[tuple[Union[Job, Help], Ticket]]] = queue.SimpleQueue()
        self._leaving = threading.Event()
        self._stirred = threading.Event()  # a job came: the idle pace of beats is over
        self._room_lock = threading.Lock()
        self._engine: dict[str, str] = {}
        self._batch: Optional[Batch] = None
        self._born_at_s = clock.now_s()
        self._jobs_ended = 0
        self._way_is_made = False  # it takes nothing more, and ends when all that it has is done
        self._bounds = recycling.bounds_of(
            settings.slot, settings.recycle_jobs, settings.recycle_s, settings.recycle_bytes
        )

    def live(self) -> None:
        """Load, then take jobs until it is asked to leave. Raises as loading does."""
        startup.hear_sigterm(lambda: self._leave("SIGTERM"))
        self._link.listen(self._hear)
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        recogniser = self._load()
        encode_most = rounds.ENCODE_MOST_ON_CPU if self._settings.device == "cpu" else rounds.ENCODE_MOST
        from workerproc.engine.native import tokens_in

        tokens = tokens_in if self._settings.chooses_rows else None
        batch = Batch(recogniser.native, self._settings.batch_size, encode_most, self._board.heed, tokens)
        self._batch = batch
        self._tell_room(batch)
        lanes = [
            threading.Thread(target=self._work, args=(recogniser, batch), name=f"lane-{n}", daemon=True)
            for n in range(self._places(self._settings.batch_size))
        ]
        for lane in lanes:
            lane.start()
        threading.Thread(target=self._close_after, args=(lanes, batch), name="last", daemon=True).start()
        batch.run()

    # --- heard from the link's thread and SIGTERM's

    def _hear(self, message: ToWorker) -> None:
        if isinstance(message, (Job, Help)):
            ticket = self._board.await_job(message.card.job_id, message.card.attempt)
            self._inbox.put((message, ticket))
            self._stirred.set()
        elif isinstance(message, StopJob):
            if self._board.stop(message.job_id, message.attempt):
                log.info(
                    "job stop requested",
                    extra={"event": "job-stop-requested", "job_id": message.job_id, "reason": message.why},
                )
                self._stir_lanes()
        elif isinstance(message, PutDown):
            order = self._board.spare if message.unbegun_only else self._board.put_down
            if order(message.job_id, message.attempt):
                facts = {"job_id": message.job_id, "reason": message.why}
                log.info("suspending job", extra={"event": "job-suspend-requested", **facts})
                self._stir_lanes()
        else:
            _: Drain = message
            self._leave("drain")

    def _stir_lanes(self) -> None:
        if self._batch is not None:
            self._batch.stir()

    def _leave(self, reason: str) -> None:
        """Finish the jobs that have begun, then leave. Said twice, it changes nothing."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        log.info("worker exiting", extra={"event": "worker-exiting", "reason": reason})
        if self._board.has_nothing_to_finish:
            self._die(Exit.OK)
        for _ in range(self._places(self._settings.batch_size)):
            self._inbox.put(None)

    def _beat(self) -> None:
        while True:
            self._link.send(self._board.beat())
            if self._board.is_idle:
                # On the host clock's own beat: the supervisor wakes once for all workers of the host.
                every_s = self._settings.idle_beat_s
                self._stirred.wait(every_s - clock.now_s() % every_s)
                self._stirred.clear()
            else:
                time.sleep(self._settings.beat_s)

    def _close_after(self, lanes: Sequence[threading.Thread], batch: Batch) -> None:
        """End the worker when its last lane has ended; an engine that is still in a call works in vain."""
        for lane in lanes:
            lane.join()
        if batch.is_broken:
            batch.close()
        else:
            self._die(Exit.OK)

    # --- the main thread

    def _load(self) -> Recogniser:
        settings = self._settings
        began_at_s = clock.now_s()
        telemetry.switch_off()
        try:
            from workerproc.engine import recogniser as engine
        except ImportError as error:
            raise errors.ModelBroken(f"the engine can't be imported: {error}") from error
        self._board.step()
        recogniser = engine.Recogniser(
            settings.model_path, settings.device, settings.compute_type, settings.threads, self._board.step
        )
        unfit = recogniser.unfit(settings.options)
        if unfit is not None:
            raise errors.SettingsUnfit(f"[transcription] {unfit}. Correct it, then reload")
        loaded_at_s = clock.now_s()
        self._board.enter("warming")
        recogniser.warm_up()
        ready_at_s = clock.now_s()

        self._engine = engine.versions()
        facts = {
            "model": settings.model,
            "device": settings.device,
            "compute_type": recogniser.compute_type,
            "load_s": f"{loaded_at_s - began_at_s:.3f}",
            "warmup_s": f"{ready_at_s - loaded_at_s:.3f}",
            **self._engine,
        }
        self._engine = {**self._engine, "device": settings.device, "compute_type": recogniser.compute_type}
        self._board.enter("idle")
        self._link.send(Up(f"{settings.model} on {settings.device} ({recogniser.compute_type})", facts))
        log.info("worker ready", extra={"event": "worker-ready", **facts})
        return recogniser

    # --- the lanes' threads

    def _work(self, recogniser: Recogniser, batch: Batch) -> None:
        """Take jobs one by one until the worker leaves, or breaks."""
        from workerproc.jobs.context import WorkerContext

        context = WorkerContext(self._settings, recogniser, batch, self._engine, self._board, self._link.send)
        try:
            while True:
                wanted = self._inbox.get()
                if wanted is None or self._leaving.is_set():
                    return
                message, ticket = wanted
                if isinstance(message, Help):
                    self._help(message, ticket, context)
                else:
                    self.do(message, ticket, context)
                    self._jobs_ended += 1
                self._tell_room(batch)
        except BaseException as error:  # noqa: BLE001  # the main thread raises it
            batch.close(error)

    def _places(self, rows: int) -> int:
        """Say how many jobs may be here: those of a round, and one that is prepared meanwhile.

        In profile `rem` each is worked on by itself, as REM's own worker does.
        """
        return rows + 1 if self._settings.profile == "fast" else 1

    def _tell_room(self, batch: Batch) -> None:
        with self._room_lock:  # a number that was counted later must not be sent earlier
            holding = self._board.known_count
            rows = batch.rows
            free = max(0, self._places(rows) - holding)
            if self._makes_way():
                free = 0
            measured = {name: f"{ms:.3f}" for name, ms in batch_tuning.in_ms(batch.measured).items()}
            self._link.send(Room(free, holding, rows, batch.rows_fit, measured))
            if self._way_is_made and not holding:
                self._die(Exit.RECYCLE)

    def _makes_way(self) -> bool:
        """Find out, and say once, whether this worker has lived long enough."""
        if not self._way_is_made:
            age_s = clock.now_s() - self._born_at_s
            why = recycling.reason(self._bounds, self._jobs_ended, age_s, recycling.resident_bytes())
            if why is not None:
                self._way_is_made = True
                log.info(
                    "worker recycling: a fresh process replaces it",
                    extra={"event": "worker-recycled", "reason": why},
                )
        return self._way_is_made

    def do(self, job: Job, ticket: Ticket, context: WorkerContext) -> None:
        """Do one job and say what became of it. Nothing escapes but `DeviceBroken`."""
        from workerproc.jobs.job import transcribe_job

        card = job.card
        facts = {"job_id": card.job_id, "attempt": card.attempt}
        try:
            self._board.begin(ticket)
            log.debug("transcription started", extra={"event": "job-begun", **facts})
            staged = transcribe_job(job, context)
        except errors.JobPutDown:
            self._link.send(Stopped(card.job_id, card.attempt))
            log.info("job suspended (checkpoint saved)", extra={"event": "job-suspended", **facts})
        except errors.JobStopped:
            log.info("job stopped", extra={"event": "job-stopped", **facts})
        except Exception as error:  # noqa: BLE001  # whatever a recording does to the engine, the worker goes on
            self._give_up(card, error, facts)
        else:
            self._link.send(staged)
            figures = {"audio_s": staged.audio_s, "took_s": round(staged.took_s, 3)}
            log.info("transcription finished", extra={"event": "job-staged", **facts, **figures})
        finally:
            self._board.end(ticket)

    def _help(self, wanted: Help, ticket: Ticket, context: WorkerContext) -> None:
        """Work on another worker's recording; whatever goes wrong here, that worker does the rest."""
        from workerproc.jobs.job import help_with

        card = wanted.card
        facts = {"job_id": card.job_id, "attempt": card.attempt}
        try:
            self._board.begin(ticket)
            help_with(wanted, context)
            log.info("part of a recording completed", extra={"event": "segment-completed", **facts})
        except errors.JobStopped:
            log.info("part of a recording cancelled", extra={"event": "segment-cancelled", **facts})
        except Exception as error:
            log.warning(
                "part of a recording failed",
                extra={"event": "segment-failed", **facts, "reason": errors.sentence(error)},
                exc_info=error,
            )
            if errors.classify(error) is Failure.SICK_DEVICE:
                raise errors.DeviceBroken(errors.sentence(error)) from error
        finally:
            self._board.end(ticket)
            self._link.send(Helped(card.job_id, card.attempt))

    def _give_up(self, card: JobCard, error: Exception, facts: dict[str, object]) -> None:
        failure, reason = errors.classify(error), errors.sentence(error)
        if failure is Failure.REJECTED:
            log.warning("recording rejected", extra={"event": "job-rejected", **facts, "reason": reason})
        else:
            # The recording may be tried again: the broker says ERROR where it has failed for good.
            log.warning(
                "attempt failed",
                extra={"event": "attempt-failed", **facts, "failure": failure.value, "reason": reason},
                exc_info=error,
            )
        self._link.send(Failed(card.job_id, failure, reason, card.attempt))
        if failure is Failure.SICK_DEVICE:
            raise errors.DeviceBroken(reason) from error
