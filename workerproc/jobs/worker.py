"""The worker's main program: load the model, warm up, run jobs, exit when drained.

The main thread runs the engine: it makes the native calls of all jobs. Each job runs in its own thread, a
lane, from decoding to the staged transcript. Three more threads receive messages, wait for SIGTERM and send
heartbeats. The supervisor sends as many jobs as there is room for: those of one round of the engine, and one
that is prepared meanwhile. The process ends with `os._exit`, since native libraries can hang in their exit
handlers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, NoReturn, Optional, Union

from supervisor.contract import clock
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
    # Large libraries: imported in `_load`, when this process already reports and accepts messages.
    from workerproc.engine.port import Engine
    from workerproc.jobs.context import WorkerContext

log = logging.getLogger(__name__)


class Worker:
    """A worker: its threads, its jobs and its state."""

    def __init__(self, settings: WorkerSettings, link: WorkerLink, die: Callable[[int], NoReturn]) -> None:
        self._settings = settings
        self._link = link
        self._die = die
        self._progress = ProgressBoard()
        # Messages with their tickets; None: the lane ends.
        self._inbox: queue.SimpleQueue[Optional[tuple[Union[Job, Help], Ticket]]] = queue.SimpleQueue()
        self._draining = threading.Event()
        self._job_arrived = threading.Event()  # ends the idle heartbeat interval
        self._room_lock = threading.Lock()
        self._engine: dict[str, str] = {}
        self._batch: Optional[Batch] = None
        self._started_at_s = clock.now_s()
        self._jobs_ended = 0
        self._is_recycling = False  # takes no more jobs, and exits when all are done
        self._bounds = recycling.bounds_of(
            settings.slot, settings.recycle_jobs, settings.recycle_s, settings.recycle_bytes
        )

    def run(self) -> None:
        """Load the model, then run jobs until drained. Raises what loading raises."""
        startup.on_sigterm(lambda: self._drain("SIGTERM"))
        self._link.listen(self._on_message, self._link.exit_on_end)
        threading.Thread(target=self._send_heartbeats, name="beat", daemon=True).start()
        recogniser = self._load()
        encode_most = rounds.ENCODE_MOST_ON_CPU if self._settings.device == "cpu" else rounds.ENCODE_MOST
        tokens = recogniser.tokens_in if self._settings.chooses_rows else None
        batch = Batch(
            recogniser.native, self._settings.batch_size, encode_most, self._progress.raise_if_stopped, tokens
        )
        self._batch = batch
        from workerproc.jobs.context import WorkerContext

        context = WorkerContext(
            self._settings, recogniser, batch, self._engine, self._progress, self._link.send
        )
        self._send_room(context)
        lanes = [
            threading.Thread(target=self._run_lane, args=(context,), name=f"lane-{n}", daemon=True)
            for n in range(self._capacity(self._settings.batch_size))
        ]
        for lane in lanes:
            lane.start()
        threading.Thread(target=self._close_after, args=(lanes, batch), name="last", daemon=True).start()
        batch.run()

    # --- the threads of the socket and of SIGTERM

    def _on_message(self, message: ToWorker) -> None:
        if isinstance(message, (Job, Help)):
            ticket = self._progress.await_job(message.card.job_id, message.card.attempt)
            self._inbox.put((message, ticket))
            self._job_arrived.set()
        elif isinstance(message, StopJob):
            if self._progress.stop(message.job_id, message.attempt):
                log.info(
                    "job stop requested",
                    extra={"event": "job-stop-requested", "job_id": message.job_id, "reason": message.why},
                )
                self._wake_lanes()
        elif isinstance(message, PutDown):
            order = self._progress.spare if message.unbegun_only else self._progress.put_down
            if order(message.job_id, message.attempt):
                facts = {"job_id": message.job_id, "reason": message.why}
                log.info("suspending job", extra={"event": "job-suspend-requested", **facts})
                self._wake_lanes()
        else:
            _: Drain = message
            self._drain("drain")

    def _wake_lanes(self) -> None:
        if self._batch is not None:
            self._batch.wake()

    def _drain(self, reason: str) -> None:
        """Finish the jobs that have started, then exit. A second call does nothing."""
        if self._draining.is_set():
            return
        self._draining.set()
        log.info("worker exiting", extra={"event": "worker-exiting", "reason": reason})
        if self._progress.has_nothing_to_finish:
            self._die(Exit.OK)
        for _ in range(self._capacity(self._settings.batch_size)):
            self._inbox.put(None)

    def _send_heartbeats(self) -> None:
        while True:
            self._link.send(self._progress.beat())
            if self._progress.is_idle:
                # Aligned to the host's clock, so that the supervisor wakes up once for all workers.
                every_s = self._settings.idle_beat_s
                self._job_arrived.wait(every_s - clock.now_s() % every_s)
                self._job_arrived.clear()
            else:
                time.sleep(self._settings.beat_s)

    def _close_after(self, lanes: Sequence[threading.Thread], batch: Batch) -> None:
        """Exit when the last lane has ended; a native call that still runs is not waited for."""
        for lane in lanes:
            lane.join()
        if batch.is_broken:
            batch.close()
        else:
            self._die(Exit.OK)

    # --- the main thread

    def _load(self) -> Engine:
        settings = self._settings
        began_at_s = clock.now_s()
        telemetry.switch_off()
        try:
            from workerproc.engine.loading import load

            make_engine = load.importing(settings.engine)
        except ImportError as error:
            raise errors.ModelBroken(f"the engine can't be imported: {error}") from error
        self._progress.step()
        recogniser = make_engine(
            settings.model_path, settings.device, settings.compute_type, settings.threads, self._progress.step
        )
        unfit = recogniser.unfit(settings.options)
        if unfit is not None:
            raise errors.SettingsUnfit(f"[transcription] {unfit}. Correct it, then reload")
        loaded_at_s = clock.now_s()
        self._progress.enter("warming")
        recogniser.warm_up()
        ready_at_s = clock.now_s()

        identity = {"engine": settings.engine, **recogniser.identity()}
        facts = {
            **identity,
            "model": settings.model,
            "device": settings.device,
            "compute_type": recogniser.compute_type,
            "load_s": f"{loaded_at_s - began_at_s:.3f}",
            "warmup_s": f"{ready_at_s - loaded_at_s:.3f}",
            "fit_windows": " ".join(recogniser.fit_languages(settings.options)),
        }
        self._engine = {
            **identity,
            "device": settings.device,
            "compute_type": recogniser.compute_type,
        }
        self._progress.enter("idle")
        self._link.send(Up(f"{settings.model} on {settings.device} ({recogniser.compute_type})", facts))
        log.info("worker ready", extra={"event": "worker-ready", **facts})
        return recogniser

    # --- the lanes

    def _run_lane(self, context: WorkerContext) -> None:
        """Run jobs one by one until the worker is drained, or fails."""
        try:
            while True:
                wanted = self._inbox.get()
                if wanted is None or self._draining.is_set():
                    return
                message, ticket = wanted
                if isinstance(message, Help):
                    self._help(message, ticket, context)
                else:
                    self.do(message, ticket, context)
                    self._jobs_ended += 1
                self._send_room(context)
        except BaseException as error:  # noqa: BLE001  # raised in the main thread
            context.batch.close(error)

    def _capacity(self, rows: int) -> int:
        """Return how many jobs the worker takes: those of a round, and one that is prepared meanwhile.

        In profile `rem` it takes one at a time, as REM's own worker does.
        """
        return rows + 1 if self._settings.profile == "fast" else 1

    def _send_room(self, context: WorkerContext) -> None:
        batch = context.batch
        with self._room_lock:  # numbers must be sent in the order in which they were counted
            holding = self._progress.known_count
            rows = batch.rows
            free = max(0, self._capacity(rows) - holding)
            if self._must_recycle():
                free = 0
            measured = batch_tuning.in_ms(batch.measured)
            windows = context.windows.total()
            self._link.send(Room(free, holding, rows, batch.rows_fit, measured, windows))
            if self._is_recycling and not holding:
                self._die(Exit.RECYCLE)

    def _must_recycle(self) -> bool:
        """Say whether the worker is to be recycled; log it once."""
        if not self._is_recycling:
            age_s = clock.now_s() - self._started_at_s
            why = recycling.reason(self._bounds, self._jobs_ended, age_s, recycling.resident_bytes())
            if why is not None:
                self._is_recycling = True
                log.info(
                    "worker recycling: a fresh process replaces it",
                    extra={"event": "worker-recycled", "reason": why},
                )
        return self._is_recycling

    def do(self, job: Job, ticket: Ticket, context: WorkerContext) -> None:
        """Run one job and send its outcome. Raises `DeviceBroken` only."""
        from workerproc.jobs.job import transcribe_job

        card = job.card
        facts = {"job_id": card.job_id, "attempt": card.attempt}
        try:
            self._progress.begin(ticket)
            log.debug("transcription started", extra={"event": "job-begun", **facts})
            staged = transcribe_job(job, context)
        except errors.JobPutDown:
            self._link.send(Stopped(card.job_id, card.attempt))
            log.info("job suspended (checkpoint saved)", extra={"event": "job-suspended", **facts})
        except errors.JobStopped:
            log.info("job stopped", extra={"event": "job-stopped", **facts})
        except Exception as error:  # noqa: BLE001  # an error of one recording must not end the worker
            self._report_failure(card, error, facts)
        else:
            self._link.send(staged)
            figures = {"audio_s": staged.audio_s, "took_s": round(staged.took_s, 3)}
            log.info("transcription finished", extra={"event": "job-staged", **facts, **figures})
        finally:
            self._progress.end(ticket)

    def _help(self, wanted: Help, ticket: Ticket, context: WorkerContext) -> None:
        """Help with another worker's recording. If this fails, that worker does the rest."""
        from workerproc.jobs.job import help_with

        card = wanted.card
        facts = {"job_id": card.job_id, "attempt": card.attempt}
        try:
            self._progress.begin(ticket)
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
            self._progress.end(ticket)
            self._link.send(Helped(card.job_id, card.attempt))

    def _report_failure(self, card: JobCard, error: Exception, facts: dict[str, object]) -> None:
        failure, reason = errors.classify(error), errors.sentence(error)
        if failure is Failure.REJECTED:
            log.warning("recording rejected", extra={"event": "job-rejected", **facts, "reason": reason})
        else:
            # The job may be retried: the broker logs an error when it has failed for good.
            log.warning(
                "attempt failed",
                extra={"event": "attempt-failed", **facts, "failure": failure.value, "reason": reason},
                exc_info=error,
            )
        self._link.send(Failed(card.job_id, failure, reason, card.attempt))
        if failure is Failure.SICK_DEVICE:
            raise errors.DeviceBroken(reason) from error
