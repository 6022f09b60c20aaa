#include "storage/sqlite/table_rows.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Columns of all tables as the schema has them, by table.
std::map<std::string, std::set<std::string>> ColumnsOfSchema() {
  const auto database = Database::Open(":memory:", Database::Mode::kReadWrite).value();
  EXPECT_OK(Migrate(*database));
  Query query = database->Prepare(
      "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_info(s.name) c "
      "WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%'");
  std::map<std::string, std::set<std::string>> columns;
  while (query.Step().value()) columns[query.Blob(0)].insert(query.Blob(1));
  return columns;
}

TEST(TableRows, LeaveNoTableAndNoColumnOfTheSchemaOut) {
  std::map<std::string, std::set<std::string>> listed;
  for (const CatalogTable& table : CatalogTables()) {
    for (const CatalogColumn& column : table.columns) listed[table.name].insert(column.name);
  }
  // Only triggers look at it.
  listed["versions"].insert("tally");
  listed["totals"].insert("id");
  for (const std::string counter : CatalogCounters()) {
    if (!counter.starts_with("last_")) listed["totals"].insert(counter);
  }
  EXPECT_EQ(listed, ColumnsOfSchema());
}

class TableRowsTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  const CatalogTable& Table(const std::string& name) const {
    for (const CatalogTable& table : CatalogTables()) {
      if (table.name == name) return table;
    }
    ADD_FAILURE() << name;
    return CatalogTables().front();
  }

  TempFolder folder_;
};

TEST_F(TableRowsTest, ComeBackAsTheyWereAndCountNothing) {
  const std::vector<Row> values = {{std::string("a\0b", 3), std::string("\xFF")},
                                   {std::string("b"), std::string()}};
  const std::vector<Row> dropped = {{std::string(16, '\1')}};
  std::vector<int64_t> counters;
  for (size_t i = 0; i < CatalogCounters().size(); ++i)
    counters.push_back(static_cast<int64_t>(i) + 100);
  {
    const auto target = MakeSqliteRows(Path("new")).value();
    ASSERT_OK(target->Add(Table("store_values"), values));
    ASSERT_OK(target->Add(Table("dropped_blobs"), dropped));
    ASSERT_OK(target->SetCounters(counters));
    EXPECT_EQ(target->Read(Table("store_values"), {}).value(), values);
    ASSERT_OK(target->Commit());
  }
  {
    const auto copy = OpenSqliteRows(Path("new")).value();
    EXPECT_EQ(copy->Read(Table("store_values"), {}).value(), values);
    EXPECT_THAT(copy->Read(Table("store_values"), {values[0][0]}).value(), ElementsAre(values[1]));
    EXPECT_EQ(copy->Read(Table("dropped_blobs"), {}).value(), dropped);
    EXPECT_EQ(copy->ReadCounters().value(), counters);
  }
  const auto catalog = SqliteCatalog::Open(Path("new")).value();
  EXPECT_OK(catalog->Check([] {}, {}));
}

TEST_F(TableRowsTest, OfWhatWasNotCommittedAreNotThere) {
  {
    const auto target = MakeSqliteRows(Path("new")).value();
    ASSERT_OK(target->Add(Table("dropped_blobs"), {{std::string(16, '\1')}}));
  }
  const auto copy = OpenSqliteRows(Path("new")).value();
  EXPECT_THAT(copy->Read(Table("dropped_blobs"), {}).value(), IsEmpty());
}

TEST_F(TableRowsTest, AreReadInBatchesInTheOrderOfTheirKeys) {
  const CatalogTable& table = Table("dropped_recipes");
  std::vector<Row> rows;
  for (int64_t number = table.batch_rows + 1; number > 0; --number) rows.push_back({number});
  const auto target = MakeSqliteRows(Path("new")).value();
  ASSERT_OK(target->Add(table, rows));
  const std::vector<Row> first = target->Read(table, {}).value();
  ASSERT_THAT(first, SizeIs(table.batch_rows));
  EXPECT_EQ(first.front(), Row{int64_t{1}});
  EXPECT_THAT(target->Read(table, first.back()).value(),
              ElementsAre(Row{int64_t{table.batch_rows + 1}}));
}

TEST(TableRows, HaveDifferentTextsIfTheyDiffer) {
  const std::vector<Row> rows = {{std::string("1")},
                                 {int64_t{1}},
                                 {std::monostate()},
                                 {std::string("1;-")},
                                 {std::string("1"), std::monostate()}};
  std::set<std::string> texts;
  for (const Row& row : rows) {
    std::string text;
    AppendRow(row, text);
    texts.insert(text);
  }
  EXPECT_THAT(texts, SizeIs(rows.size()));
}

}  // namespace
}  // namespace backup::storage
