#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/backupctl/interrupt.h"

namespace backup::ctl::old_server {

// The value of a column as the old server left it, whatever the column's type says.
struct Cell {
  enum class Type { kNull, kInteger, kReal, kText, kBlob };
  Type type = Type::kNull;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;  // Of text (UTF-8) and blobs; no more than kMaxCellSize of them.
};

struct DatabaseTable {
  std::string name;
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;  // Each with as many cells as there are columns.
};

struct Database {
  DatabaseTable clients;
  DatabaseTable files;  // Without columns if there is no such table.
  // What is wrong with it though it can be read, at least in part.
  std::vector<std::string> problems;
  // Nothing is wrong, but should be known.
  std::vector<std::string> notes;
};

// No value of an old server is near it.
inline constexpr size_t kMaxCellSize = size_t{64} << 10;
// Bounds the memory that it takes.
inline constexpr int64_t kMaxRows = 1'000'000;

// Reads the old server's tables "clients" and "files", whatever the case of their names. Writes
// nothing, neither to the database nor beside it, and takes no lock. What is damaged is left out.
// NotFound if there is no such file; exit code 11 if a process uses it, or it changed meanwhile, or
// has changes beside it that are not in it yet; DataLoss if it is no SQLite database or cannot be
// read at all; InvalidArgument if it has no table "clients". Each message says what to do.
// Cancelled if interrupted.
absl::StatusOr<Database> ReadDatabase(const std::string& path, const Interrupt& interrupt);

}  // namespace backup::ctl::old_server
