"""Audio made from scores: a corpus that is narrow, clean, and free to use.

Scores (`reading`) become plain notes (`score`), versions of one tune are found (`tunes`), a plan
says which are played on what, in which key and how fast (`plan`, `performance`), FluidSynth plays
them (`synthesizer`, `sound`), and `corpus` writes files, tags and what they were made from.
"""

from pathlib import Path

SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")  # as Debian and Ubuntu install it
