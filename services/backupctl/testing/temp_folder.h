#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace backup::ctl::testing {

// A fresh folder, removed with all that is in it.
class TempFolder {
 public:
  TempFolder() {
    std::string path = ::testing::TempDir() + "/backupctl-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string Path(const std::string& name) const { return (path_ / name).string(); }

  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    EXPECT_TRUE(file.good()) << name;
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // All files, links and folders below `name`, relative to it.
  std::set<std::string> List(const std::string& name = ".") const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_ / name)) {
      names.insert(std::filesystem::relative(entry.path(), path_ / name).string());
    }
    return names;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace backup::ctl::testing
