"""A small set of real faces with labels: an expert that is always on, and one for each condition and for none.

    adaptface train --config=small_faces_conditions --workdir=runs/conditions \\
        --config.data.train=/data/faces --benchmark test=/data/test.bin

The training folder holds a labels.csv with the columns of `data.domains` (docs/data.md; `adaptface annotate` makes pose
and light). Expect 147,456 adapter parameters, as many as LoRA of rank 48, with which docs/dalora.md compares it.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "small_faces.py")
    config.adapter.kind = "dalora"
    config.adapter.num_domains = 4
    config.adapter.rank = 8
    config.adapter.shared_rank = 16
    config.adapter.alpha = 32.0
    config.adapter.domain_loss_weight = 1.0
    config.data.domains = "ordinary; pose=left|right; age=old|child; light=bad"
    return config
