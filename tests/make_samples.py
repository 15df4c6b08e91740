"""Speak the sample recordings that ship with rem-supervisor.

    python tests/make_samples.py supervisor/samples

Needs espeak-ng, which only the person who changes a sample must have: the results are committed. The texts
are ours. Three formats and three lengths, because they take different ways through the worker: plain PCM as
REM's devices send it, MP3, and Opus in Ogg longer than Whisper's window of 30 seconds.
"""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import av

# Slower than espeak-ng's 175 and with a pause between words: tiny.en then understands nearly all of it.
VOICE = ("espeak-ng", "-v", "en-us", "-s", "140", "-g", "2", "--stdout")


@dataclass(frozen=True)
class Sample:
    file: str
    codec: str
    rate_hz: int
    bit_rate: int | None
    text: str


SAMPLES = (
    Sample(
        "harbour.wav",
        "pcm_s16le",
        16000,
        None,
        "The first boat left the harbor at noon. The sea was calm, and the sky was clear.",
    ),
    Sample(
        "soup.mp3",
        "libmp3lame",
        22050,
        40_000,
        "Cut two onions and one carrot into small pieces. Cook them slowly in oil for ten minutes. Then add "
        "the water, the beans and a little salt, and leave the soup on the fire for an hour.",
    ),
    Sample(
        "lighthouse.ogg",
        "libopus",
        48000,
        24_000,
        "My grandfather kept the lighthouse on the northern island for thirty years. Every evening he "
        "climbed the stairs, cleaned the great lamp, and wrote the weather into his diary. He wrote the "
        "wind, the clouds, and the name of each ship that passed before dark. In winter no boat could land, "
        "and for weeks nobody came. Then he talked to the birds, and he said that they were good listeners. "
        "When the electric light arrived, a machine was put in his place. It never slept, and it never "
        "asked for coffee. But a machine writes no diary, he said, and the first storm proved him right. "
        "The power failed at midnight, and the old man went up the stairs with a lamp in his hand. He stood "
        "there until the morning, and two fishing boats found their way home. Today the diary lies in our "
        "kitchen. On the last page there is only one line. All ships safe, it says, and now I am going to "
        "sleep.",
    ),
)


def speak(text: str) -> bytes:
    """Give `text` as espeak-ng says it: WAV, 22,050 Hz, one channel."""
    return subprocess.run((*VOICE, text), check=True, stdout=subprocess.PIPE).stdout


def encode(wav: bytes, sample: Sample, target: Path) -> float:
    """Write `wav` to `target` as the sample wants it; the result is its length in seconds."""
    with av.open(io.BytesIO(wav)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream(sample.codec, rate=sample.rate_hz, layout="mono")
        if sample.bit_rate:
            stream.bit_rate = sample.bit_rate
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=sample.rate_hz)
        # The fifo cuts frames as the encoder wants them; a codec without a frame size takes any.
        fifo = av.AudioFifo()
        samples_count = 0
        for frame in [*source.decode(audio=0), None]:
            for piece in resampler.resample(frame):
                piece.pts = None
                samples_count += piece.samples
                fifo.write(piece)
            size = stream.codec_context.frame_size or 4096
            for cut in fifo.read_many(size, partial=frame is None):
                container.mux(stream.encode(cut))
        container.mux(stream.encode(None))
    return samples_count / sample.rate_hz


def make_samples(folder: Path) -> None:
    """Write every sample and `samples.tsv`, their list: file, length in seconds, text."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file\tseconds\ttext"]
    for sample in SAMPLES:
        seconds = encode(speak(sample.text), sample, folder / sample.file)
        lines.append(f"{sample.file}\t{seconds:.1f}\t{sample.text}")
        print(f"{sample.file}: {seconds:.1f} s, {(folder / sample.file).stat().st_size} bytes")
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
