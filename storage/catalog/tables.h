#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace backup::storage {

// A catalog as plain rows, the same whatever it is kept in: for whoever copies all of it without
// knowing what it means (docs/adr/0042-migrating-an-installation.md).

// NULL, a number or a truth value, bytes.
using Cell = std::variant<std::monostate, int64_t, std::string>;
using Row = std::vector<Cell>;

struct CatalogColumn {
  enum class Kind { kNumber, kFlag, kBytes };
  const char* name;
  Kind kind;
};

struct CatalogTable {
  const char* name;
  std::vector<CatalogColumn> columns;  // Those of the primary key first, in its order.
  size_t key_size;                     // How many these are.
  int batch_rows;                      // So many rows are read and added at once: some MiB at most.
};

// All that have rows of their own in every implementation, in an order in which they may be filled.
const std::vector<CatalogTable>& CatalogTables();

// Names of the numbers that a catalog keeps beside its rows, in a way of its own: totals, epochs,
// and the next or last number that it gave.
const std::vector<const char*>& CatalogCounters();

// The names of a table's first `count` columns.
std::vector<std::string> ColumnNames(const CatalogTable& table, size_t count);

// Appends a form of `row` that no other row has.
void AppendRow(const Row& row, std::string& out);

// One state of a catalog that nobody changes meanwhile. Used by one thread at a time.
class CatalogRows {
 public:
  virtual ~CatalogRows() = default;
  // The next rows behind the key `after` in the order of keys, at most `table.batch_rows`; empty:
  // the first ones. Reasons as of Snapshot.
  virtual absl::StatusOr<std::vector<Row>> Read(const CatalogTable& table, const Row& after) = 0;
  // In the order of CatalogCounters().
  virtual absl::StatusOr<std::vector<int64_t>> ReadCounters() = 0;
};

// A catalog that is being filled. Nobody sees any of it before Commit(); without that nothing is
// left of it. Reads see what was added.
class NewCatalogRows : public CatalogRows {
 public:
  // Rows of one table. Reasons STORAGE_FULL, STORAGE_IO, BACKEND_DOWN.
  virtual absl::Status Add(const CatalogTable& table, const std::vector<Row>& rows) = 0;
  // In the order of CatalogCounters(); numbers that are given go on behind these. After all rows.
  virtual absl::Status SetCounters(const std::vector<int64_t>& counters) = 0;
  // All of it is durable when this returns OK. Used no more after it.
  virtual absl::Status Commit() = 0;
};

}  // namespace backup::storage
