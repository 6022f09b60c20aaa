#include "storage/sqlite/table_rows.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/schema.h"

namespace backup::storage {
namespace {

// Before anything is written. The room that it grows by is synced with its one commit.
constexpr char kNewSettings[] = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL;";

// Numbers that SQLite itself keeps of these tables, by the counter that tells them.
const std::map<absl::string_view, absl::string_view>& Sequences() {
  static const auto* const sequences = new std::map<absl::string_view, absl::string_view>{
      {"last_pack_id", "packs"}, {"last_chunk_no", "chunks"}, {"last_recipe_id", "recipes"}};
  return *sequences;
}

// How a column is read. Of versions that are older than kept_bytes the size counts.
std::string Expression(const CatalogTable& table, const CatalogColumn& column) {
  const absl::string_view name = column.name;
  if (absl::string_view(table.name) == "versions" && name == "kept_bytes")
    return "coalesce(kept_bytes, size_bytes)";
  return std::string(name);
}

std::string ReadStatement(const CatalogTable& table, bool from_first) {
  std::vector<std::string> columns;
  for (const CatalogColumn& column : table.columns) columns.push_back(Expression(table, column));
  const std::string key = absl::StrJoin(ColumnNames(table, table.key_size), ", ");
  const std::string marks = absl::StrJoin(std::vector<std::string>(table.key_size, "?"), ", ");
  return absl::StrCat("SELECT ", absl::StrJoin(columns, ", "), " FROM ", table.name,
                      from_first ? "" : absl::StrCat(" WHERE (", key, ") > (", marks, ")"),
                      " ORDER BY ", key, " LIMIT ", table.batch_rows);
}

std::string AddStatement(const CatalogTable& table) {
  const size_t columns = table.columns.size();
  return absl::StrCat("INSERT INTO ", table.name, " (",
                      absl::StrJoin(ColumnNames(table, columns), ", "), ") VALUES (",
                      absl::StrJoin(std::vector<std::string>(columns, "?"), ", "), ")");
}

void BindCell(Query& query, const Cell& cell) {
  if (const auto* const number = std::get_if<int64_t>(&cell)) {
    query.Bind(*number);
  } else if (const auto* const bytes = std::get_if<std::string>(&cell)) {
    query.BindBlob(*bytes);
  } else {
    query.BindNull();
  }
}

Cell CellOf(const Query& query, const CatalogColumn& column, int place) {
  if (query.IsNull(place)) return std::monostate();
  if (column.kind == CatalogColumn::Kind::kBytes) return query.Blob(place);
  return query.Int(place);
}

// Both kinds. The statements that it makes last as long as the connection, as that wants it.
class SqliteRows final : public NewCatalogRows {
 public:
  explicit SqliteRows(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<Row>> Read(const CatalogTable& table, const Row& after) override {
    Query query = database_->Prepare(Kept(ReadStatement(table, after.empty())));
    for (const Cell& cell : after) BindCell(query, cell);
    std::vector<Row> rows;
    while (true) {
      ASSIGN_OR_RETURN(const bool found, query.Step());
      if (!found) return rows;
      Row& row = rows.emplace_back();
      for (size_t i = 0; i < table.columns.size(); ++i)
        row.push_back(CellOf(query, table.columns[i], static_cast<int>(i)));
    }
  }

  absl::StatusOr<std::vector<int64_t>> ReadCounters() override {
    std::vector<std::string> counters;
    for (const char* const name : CatalogCounters()) {
      const auto sequence = Sequences().find(name);
      counters.push_back(
          sequence == Sequences().end()
              ? std::string(name)
              : absl::StrCat("coalesce((SELECT seq FROM sqlite_sequence WHERE name = '",
                             sequence->second, "'), 0)"));
    }
    Query query = database_->Prepare(
        Kept(absl::StrCat("SELECT ", absl::StrJoin(counters, ", "), " FROM totals")));
    RETURN_IF_ERROR(query.Step().status());
    std::vector<int64_t> values;
    for (size_t i = 0; i < counters.size(); ++i) values.push_back(query.Int(static_cast<int>(i)));
    return values;
  }

  absl::Status Add(const CatalogTable& table, const std::vector<Row>& rows) override {
    const char* const statement = Kept(AddStatement(table));
    for (const Row& row : rows) {
      Query query = database_->Prepare(statement);
      for (const Cell& cell : row) BindCell(query, cell);
      RETURN_IF_ERROR(query.Run());
    }
    return absl::OkStatus();
  }

  absl::Status SetCounters(const std::vector<int64_t>& counters) override {
    std::vector<std::string> totals;
    RETURN_IF_ERROR(database_->Prepare("DELETE FROM sqlite_sequence").Run());
    for (size_t i = 0; i < counters.size(); ++i) {
      const char* const name = CatalogCounters()[i];
      const auto sequence = Sequences().find(name);
      if (sequence == Sequences().end()) {
        totals.push_back(absl::StrCat(name, " = ", counters[i]));
        continue;
      }
      RETURN_IF_ERROR(database_->Prepare("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)")
                          .BindText(sequence->second)
                          .Bind(counters[i])
                          .Run());
    }
    return database_->Prepare(Kept(absl::StrCat("UPDATE totals SET ", absl::StrJoin(totals, ", "))))
        .Run();
  }

  absl::Status Commit() override { return database_->Commit(); }

 private:
  const char* Kept(const std::string& statement) {
    return statements_.try_emplace(statement, statement).first->second.c_str();
  }

  std::map<std::string, const std::string> statements_;  // Before the connection, which has them.
  const std::unique_ptr<Database> database_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CatalogRows>> OpenSqliteRows(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                   Database::Open(path, Database::Mode::kReadOnly));
  RETURN_IF_ERROR(CheckIsNewest(*database));
  RETURN_IF_ERROR(database->Begin(Database::Mode::kReadOnly));
  return std::make_unique<SqliteRows>(std::move(database));
}

absl::StatusOr<std::unique_ptr<NewCatalogRows>> MakeSqliteRows(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                   Database::Open(path, Database::Mode::kReadWrite));
  RETURN_IF_ERROR(database->Execute(kNewSettings));
  RETURN_IF_ERROR(Migrate(*database));
  // What they count is in the rows already.
  RETURN_IF_ERROR(database->DisableTriggers());
  RETURN_IF_ERROR(database->Begin(Database::Mode::kReadWrite));
  return std::make_unique<SqliteRows>(std::move(database));
}

}  // namespace backup::storage
