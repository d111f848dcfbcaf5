"""All distances of one generated set to one reference under one embedding, with their controls.

`measure` returns what the report renders, all of it plain JSON (no NaN, no infinity):

    {
      "embedding": {"name", "weights_sha256", "dim", "sample_rate" (Hz), "window_s", "hop_s"},
                                      # window_s and hop_s null: one vector a clip
      "clip_s": 10.0,                 # seconds
      "clips_per_file": 1,
      "loudness": "none",             # or e.g. "-23 LUFS", as the clips were made
      "resampler": "…",
      "seed": 0,                      # of subsets, halves, noise and shuffled tokens
      "confidence": 0.95,             # of every low … high
      "generated": {"name": "generated", "n_files", "n_clips", "n_vectors"},
      "reference": {"name": "jamendo", "n_files", "n_clips", "n_vectors"},
      "fad": 3.21,                    # plain, biased upward by finite samples
      "fad_infinity": {"value", "low", "high"} or null,
                                      # null: too few clips for it (a warning says so)
      "kad": {"value", "low", "high"},
      "paper_compat": 1e-4 or null,   # CNN14 only: the distance of the flattened vectors
      "per_file": [{"id": "…", "fad": 12.3}, …],     # generated files, in the set's order
      "controls": {
        "real_vs_real":    {"fad", "fad_infinity", "kad", "paper_compat",
                            "generated": {"name", "n_files", "n_clips", "n_vectors"},
                            "reference": {"name", "n_files", "n_clips", "n_vectors"}},
        "codec_floor":     {… the same},
        "shuffled_tokens": {… the same},
        "white_noise":     {… the same},
        "silence":         {… the same},
      },                              # {}: no controls were asked for
      "warnings": ["one line each", …]
    }

A value of FAD∞ and of KAD may be slightly negative: both estimate their quantity without bias,
which a number that is never negative cannot do at 0.
"""
