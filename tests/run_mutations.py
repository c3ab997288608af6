"""Shows that a quick test breaks when the core is wrong: one change at a time, each undone.

python tests/run_mutations.py           # all of them, a few minutes
python tests/run_mutations.py gamma     # those whose name contains it
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Name: (file, text, what takes its place, a test that must fail).
MUTATIONS = {
    "sign of the generator's loss": (
        "training/losses.py",
        '''losses [N]."""
    return tf.nn.softplus(-fake_scores)''',
        '''losses [N]."""
    return tf.nn.softplus(fake_scores)''',
        "tests/training/test_losses.py",
    ),
    "sign of the discriminator's loss of real images": (
        "training/losses.py",
        "softplus(-real_scores)",
        "softplus(real_scores)",
        "tests/training/test_losses.py",
    ),
    "sign of the discriminator's loss of fakes": (
        "training/losses.py",
        "softplus(fake_scores)",
        "softplus(-fake_scores)",
        "tests/training/test_losses.py",
    ),
    "gamma / 2 becomes gamma": (
        "training/step.py",
        "(training.r1_gamma / 2)",
        "training.r1_gamma",
        "tests/training/test_iteration.py",
    ),
    "R1 without its interval": (
        "training/step.py",
        "loss * training.r1_interval",
        "loss",
        "tests/training/test_iteration.py",
    ),
    "path length without its moving target's gradient": (
        "training/regularizers.py",
        "- decay * (mean - target)",
        "",
        "tests/training/test_losses.py",
    ),
    "half-life's base": (
        "training/ema.py",
        "tf.pow(0.5,",
        "tf.pow(0.6,",
        "tests/training/test_ema.py",
    ),
    "beta_2 without its correction": (
        "training/optimizers.py",
        "config.beta_2**c",
        "config.beta_2",
        "tests/training/test_optimizers.py",
    ),
    "order of flip in the filter": (
        "tf_sg2/ops/upfirdn2d.py",
        "kernel[::-1, ::-1] if flip_kernel else kernel",
        "kernel if flip_kernel else kernel[::-1, ::-1]",
        "tests/ops/test_upfirdn2d.py",
    ),
    "psi's direction": (
        "tf_sg2/networks/mapping.py",
        "self.w_avg + psi * (copies - self.w_avg)",
        "copies + psi * (self.w_avg - copies)",
        "tests/networks/test_mapping.py",
    ),
}


def run_mutation(name: str) -> bool:
    """Returns whether the test breaks; the file is as before afterwards."""
    file, before, after, test = MUTATIONS[name]
    path = ROOT / file
    source = path.read_text(encoding="utf-8")
    if source.count(before) != 1:
        sys.exit(f"{name}: {file} holds {before!r} {source.count(before)} times, not once")
    path.write_text(source.replace(before, after), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", test]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    finally:
        path.write_text(source, encoding="utf-8")
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    # 1: tests ran and failed. Anything else says nothing of the mutation.
    print(f"{name}: {failed[0].split(' - ')[0] if failed else 'NOT FOUND'}", flush=True)
    return result.returncode == 1 and bool(failed)


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    names = [name for name in MUTATIONS if wanted in name]
    missed = [name for name in names if not run_mutation(name)]
    if missed or not names:
        sys.exit(f"no test breaks for: {', '.join(missed) or wanted}")


if __name__ == "__main__":
    main()
