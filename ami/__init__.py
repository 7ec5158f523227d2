"""The recipe of gpurun's machine image: a package so that an installed gpurun has it too."""
