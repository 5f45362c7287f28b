"""Train nnU-Net v2 for one short epoch on a dataset: `python nnunet_epoch.py RAW WORK NUMBER`.

It runs in a process of its own, because nnU-Net reads its folders from the environment when it is
imported. It prints the number of input channels and the loss.
"""

from __future__ import annotations

import os
import sys

ITERATIONS = 2


def main(raw: str, work: str, number: int) -> None:
    os.environ |= {
        "nnUNet_raw": raw,
        "nnUNet_preprocessed": f"{work}/preprocessed",
        "nnUNet_results": f"{work}/results",
        "nnUNet_n_proc_DA": "1",
        "nnUNet_compile": "f",
    }
    import torch
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.set_num_threads(2)
    api.extract_fingerprints([number], num_processes=1, check_dataset_integrity=True)
    # A small network: memory is asked for in GB of a GPU.
    plans = api.plan_experiments([number], gpu_memory_target_in_gb=0.5)
    api.preprocess([number], plans, ("3d_fullres",), num_processes=(1,))
    trainer = get_trainer_from_args(
        str(number), "3d_fullres", 0, plans_identifier=plans, device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_val_iterations_per_epoch = 1, 1
    trainer.num_iterations_per_epoch = ITERATIONS
    os.environ |= {"nnUNet_n_proc_DA": "0"}  # no processes of its own
    trainer.run_training()
    print("channels", trainer.num_input_channels)
    print("loss", trainer.logger.get_value("train_losses", step=-1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
