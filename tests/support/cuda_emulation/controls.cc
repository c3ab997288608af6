// Sets the order of threads and the size of grids of the emulated device.

#include "cuda_runtime.h"

extern "C" __attribute__((visibility("default"))) void cuda_emulation_set(int backwards,
                                                                          unsigned maximum_grid) {
  cuda_emulation::backwards = backwards != 0;
  cuda_emulation::maximum_grid = maximum_grid;
}
