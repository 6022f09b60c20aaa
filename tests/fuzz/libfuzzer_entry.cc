// What libFuzzer calls.

#include <cstddef>
#include <cstdint>

#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  FLAGS_minloglevel = google::GLOG_FATAL;  // Else most of the time goes into what nobody reads.
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  backup::fuzz::TryInput({reinterpret_cast<const char*>(data), size});
  return 0;
}
