#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup::storage {

// A new, empty folder that goes away with this. Used by one thread at a time.
class TempFolder {
 public:
  TempFolder() : path_(::testing::TempDir() + "storage_test_XXXXXX") {
    PCHECK(::mkdtemp(path_.data()) != nullptr) << path_;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace backup::storage
