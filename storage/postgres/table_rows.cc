#include "storage/postgres/table_rows.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/connector.h"
#include "storage/postgres/conninfo.h"
#include "storage/postgres/schema.h"

namespace backup::storage {
namespace {

using postgres::Connection;
using postgres::Connector;
using postgres::Query;

constexpr absl::Duration kConnectTimeout = absl::Seconds(5);
// One commit of all that a catalog has.
constexpr absl::Duration kAnswerTimeout = absl::Hours(1);
// Between two statements the other side is read.
constexpr char kSettings[] =
    "SELECT set_config('idle_in_transaction_session_timeout', '0', false), "
    "set_config('lock_timeout', '10s', false)";

// Numbers that are no sums of totals: how they are read, and how they are set, by their counter.
struct OtherCounter {
  const char* read;
  const char* set;  // $1 is the number; null: nothing is to be done.
};
const std::map<absl::string_view, OtherCounter>& OtherCounters() {
  static const auto* const counters = new std::map<absl::string_view, OtherCounter>{
      {"dropped_blobs", {"(SELECT count(*) FROM dropped_blobs)", nullptr}},
      {"dropped_recipes", {"(SELECT count(*) FROM dropped_recipes)", nullptr}},
      {"epoch", {"(SELECT epoch FROM epochs)", "UPDATE epochs SET epoch = $1"}},
      {"damage_epoch",
       {"(SELECT damage_epoch FROM epochs)", "UPDATE epochs SET damage_epoch = $1"}},
      {"next_version_id",
       {"(SELECT last_value + is_called::int FROM version_ids)",
        "SELECT setval('version_ids', $1, false)"}},
      {"last_pack_id",
       {"(SELECT last_value - 1 + is_called::int FROM packs_pack_id_seq)",
        "SELECT setval('packs_pack_id_seq', $1 + 1, false)"}},
      {"last_chunk_no",
       {"(SELECT last_value - 1 + is_called::int FROM chunks_chunk_no_seq)",
        "SELECT setval('chunks_chunk_no_seq', $1 + 1, false)"}},
      {"last_recipe_id",
       {"(SELECT last_value - 1 + is_called::int FROM recipes_recipe_id_seq)",
        "SELECT setval('recipes_recipe_id_seq', $1 + 1, false)"}}};
  return *counters;
}

std::vector<std::string> Parameters(size_t count) {
  std::vector<std::string> parameters;
  for (size_t i = 1; i <= count; ++i) parameters.push_back(absl::StrCat("$", i));
  return parameters;
}

std::string ReadStatement(const CatalogTable& table, bool from_first) {
  const std::string key = absl::StrJoin(ColumnNames(table, table.key_size), ", ");
  return absl::StrCat("SELECT ", absl::StrJoin(ColumnNames(table, table.columns.size()), ", "),
                      " FROM ", table.name,
                      from_first
                          ? ""
                          : absl::StrCat(" WHERE (", key, ") > (",
                                         absl::StrJoin(Parameters(table.key_size), ", "), ")"),
                      " ORDER BY ", key, " LIMIT ", table.batch_rows);
}

// Adds the rows whose columns are arrays.
std::string AddStatement(const CatalogTable& table) {
  std::vector<std::string> values;
  std::vector<std::string> arrays;
  for (const CatalogColumn& column : table.columns) {
    const std::string name = absl::StrCat("c", values.size() + 1);
    const bool is_flag = column.kind == CatalogColumn::Kind::kFlag;
    values.push_back(is_flag ? absl::StrCat(name, " <> 0") : name);
    arrays.push_back(
        absl::StrCat("$", values.size(),
                     column.kind == CatalogColumn::Kind::kBytes ? "::bytea[]" : "::bigint[]"));
  }
  std::vector<std::string> names;
  for (size_t i = 1; i <= values.size(); ++i) names.push_back(absl::StrCat("c", i));
  return absl::StrCat("INSERT INTO ", table.name, " (",
                      absl::StrJoin(ColumnNames(table, table.columns.size()), ", "),
                      ") OVERRIDING SYSTEM VALUE SELECT ", absl::StrJoin(values, ", "),
                      " FROM unnest(", absl::StrJoin(arrays, ", "), ") AS rows (",
                      absl::StrJoin(names, ", "), ")");
}

Cell CellOf(const Query& query, const CatalogColumn& column, int place) {
  if (query.IsNull(place)) return std::monostate();
  if (column.kind == CatalogColumn::Kind::kBytes) return query.Blob(place);
  return query.Int(place);
}

void BindColumn(Query& query, const CatalogColumn& column, size_t place,
                const std::vector<Row>& rows) {
  std::vector<std::optional<int64_t>> numbers;
  std::vector<std::optional<std::string>> blobs;
  const bool is_bytes = column.kind == CatalogColumn::Kind::kBytes;
  for (const Row& row : rows) {
    const auto* const number = std::get_if<int64_t>(&row[place]);
    const auto* const bytes = std::get_if<std::string>(&row[place]);
    if (is_bytes) {
      blobs.push_back(bytes == nullptr ? std::nullopt : std::optional(*bytes));
    } else {
      numbers.push_back(number == nullptr ? std::nullopt : std::optional(*number));
    }
  }
  if (is_bytes) {
    query.BindAllBlobs(blobs);
  } else {
    query.BindAll(numbers);
  }
}

// Both kinds. The statements that it makes last as long as the connection, as that wants it.
class PostgresRows final : public NewCatalogRows {
 public:
  explicit PostgresRows(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)) {}

  absl::Status Begin(const char* statement) {
    Query settings = connection_->Prepare(kSettings);
    RETURN_IF_ERROR(settings.Step().status());
    return connection_->Prepare(statement).Run();
  }

  // Leaves nothing there of an earlier attempt.
  absl::Status Clear(absl::string_view name, absl::string_view value) {
    Query earlier =
        connection_->Prepare("SELECT 1 FROM store_values WHERE name = $1 AND value = $2");
    ASSIGN_OR_RETURN(const bool is_ours, earlier.BindBlob(name).BindBlob(value).Step());
    for (const CatalogTable& table : CatalogTables()) {
      Query rows =
          connection_->Prepare(Kept(absl::StrCat("SELECT 1 FROM ", table.name, " LIMIT 1")));
      ASSIGN_OR_RETURN(const bool found, rows.Step());
      if (!found) continue;
      if (!is_ours) return absl::AlreadyExistsError("has a catalog in use");
      RETURN_IF_ERROR(connection_->Prepare(Kept(absl::StrCat("TRUNCATE ", table.name))).Run());
    }
    return connection_->Flush();
  }

  absl::StatusOr<std::vector<Row>> Read(const CatalogTable& table, const Row& after) override {
    Query query = connection_->Prepare(Kept(ReadStatement(table, after.empty())));
    for (const Cell& cell : after) {
      if (const auto* const number = std::get_if<int64_t>(&cell)) {
        query.Bind(*number);
      } else {
        query.BindBlob(std::get<std::string>(cell));
      }
    }
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
      const auto other = OtherCounters().find(name);
      counters.push_back(other == OtherCounters().end()
                             ? absl::StrCat("coalesce(sum(", name, "), 0)::bigint")
                             : std::string(other->second.read));
    }
    Query query = connection_->Prepare(
        Kept(absl::StrCat("SELECT ", absl::StrJoin(counters, ", "), " FROM totals")));
    RETURN_IF_ERROR(query.Step().status());
    std::vector<int64_t> values;
    for (size_t i = 0; i < counters.size(); ++i) values.push_back(query.Int(static_cast<int>(i)));
    return values;
  }

  absl::Status Add(const CatalogTable& table, const std::vector<Row>& rows) override {
    Query query = connection_->Prepare(Kept(AddStatement(table)));
    for (size_t i = 0; i < table.columns.size(); ++i) BindColumn(query, table.columns[i], i, rows);
    RETURN_IF_ERROR(query.Run());
    return connection_->Flush();
  }

  absl::Status SetCounters(const std::vector<int64_t>& counters) override {
    // One row of all totals, which the first session that writes goes on with.
    std::vector<std::string> names = {"shard"};
    std::vector<std::string> values = {"1"};
    for (size_t i = 0; i < counters.size(); ++i) {
      const char* const name = CatalogCounters()[i];
      const auto other = OtherCounters().find(name);
      if (other == OtherCounters().end()) {
        names.emplace_back(name);
        values.push_back(absl::StrCat(counters[i]));
      } else if (other->second.set != nullptr) {
        Query set = connection_->Prepare(other->second.set);
        RETURN_IF_ERROR(set.Bind(counters[i]).Step().status());
      }
    }
    RETURN_IF_ERROR(connection_->Prepare("DELETE FROM totals").Run());
    RETURN_IF_ERROR(
        connection_
            ->Prepare(Kept(absl::StrCat("INSERT INTO totals (", absl::StrJoin(names, ", "),
                                        ") VALUES (", absl::StrJoin(values, ", "), ")")))
            .Run());
    Query files = connection_->Prepare(
        "SELECT setval('files_file_id_seq', (SELECT coalesce(max(file_id), 0) + 1 FROM files), "
        "false)");
    return files.Step().status();
  }

  absl::Status Commit() override {
    bool is_unknown = false;
    return connection_->Commit(is_unknown);
  }

 private:
  const char* Kept(const std::string& statement) {
    return statements_.insert(statement).first->c_str();
  }

  std::set<std::string> statements_;  // Before the connection, which has them.
  const std::unique_ptr<Connection> connection_;
};

absl::StatusOr<std::unique_ptr<Connection>> Connect(const std::string& conninfo) {
  ASSIGN_OR_RETURN(std::vector<ConnectionParameters> hosts, ParametersOf(conninfo));
  Connector connector(std::move(hosts), kConnectTimeout, kAnswerTimeout);
  return connector.Connect(Connector::Use::kMigrating);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CatalogRows>> OpenPostgresRows(const std::string& conninfo) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connect(conninfo));
  RETURN_IF_ERROR(postgres::CheckIsNewest(*connection));
  auto rows = std::make_unique<PostgresRows>(std::move(connection));
  RETURN_IF_ERROR(rows->Begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  return rows;
}

absl::StatusOr<std::unique_ptr<NewCatalogRows>> MakePostgresRows(const std::string& conninfo,
                                                                 absl::string_view name,
                                                                 absl::string_view value) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connect(conninfo));
  RETURN_IF_ERROR(postgres::Migrate(*connection));
  auto rows = std::make_unique<PostgresRows>(std::move(connection));
  RETURN_IF_ERROR(rows->Begin("BEGIN"));
  RETURN_IF_ERROR(rows->Clear(name, value));
  return rows;
}

}  // namespace backup::storage
