#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup::storage {

// A new, empty folder where syncs cost nothing, if this machine has room for that: for tests of
// processes that end, which lose nothing that was written. The caller removes it.
inline std::string MakeMemoryFolder() {
  constexpr uintmax_t kRoom = uintmax_t{2} << 30;
  std::error_code error;
  const std::filesystem::space_info shared = std::filesystem::space("/dev/shm", error);
  const bool has_room = !error && shared.available > kRoom;
  std::string path = (has_room ? "/dev/shm/" : ::testing::TempDir()) + "storage_test_XXXXXX";
  PCHECK(::mkdtemp(path.data()) != nullptr) << path;
  return path;
}

// One that goes away with this. Used by one thread at a time.
class MemoryFolder {
 public:
  MemoryFolder() : path_(MakeMemoryFolder()) {}
  ~MemoryFolder() { std::filesystem::remove_all(path_); }
  MemoryFolder(const MemoryFolder&) = delete;
  MemoryFolder& operator=(const MemoryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace backup::storage
