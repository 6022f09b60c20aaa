#include "services/backupctl/old_server/database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/status_says.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl::old_server {
namespace {

using ::backup::ctl::testing::Says;
using ::backup::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::TempFolder;

constexpr char kTables[] =
    "CREATE TABLE clients (ID BINARY(16) PRIMARY KEY, name VARCHAR(256), public_key BINARY(160), "
    "last_seen DATETIME, aes_key BINARY(16));"
    "CREATE TABLE files (ID BINARY(16) PRIMARY KEY, FileName VARCHAR(256), PathName VARCHAR(256), "
    "Verified BOOLEAN);"
    "INSERT INTO clients VALUES ('id', x'6e616d65', 0, NULL, 1.5);";

// A connection of the old server's.
class Server {
 public:
  explicit Server(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &connection_), 0);
  }
  ~Server() { sqlite3_close(connection_); }
  void Run(const std::string& sql) {
    EXPECT_EQ(sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(connection_);
  }

 private:
  sqlite3* connection_ = nullptr;
};

class DatabaseTest : public ::testing::Test {
 protected:
  std::string Bytes(const std::string& name) const {
    std::ifstream file(folder_.Path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  // All that is in the folder.
  std::map<std::string, std::string> Everything() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.Path("")))
      files[entry.path().filename()] = Bytes(entry.path().filename());
    return files;
  }
  absl::StatusOr<Database> Read() {
    const auto before = Everything();
    absl::StatusOr<Database> database = ReadDatabase(path_, interrupt_);
    EXPECT_EQ(Everything(), before);
    return database;
  }
  void ExpectInUse(const std::string& how) {
    const auto database = Read();
    EXPECT_EQ(GivenExitCode(database.status()), kExitInUse) << database.status();
    EXPECT_THAT(std::string(database.status().message()),
                AllOf(HasSubstr(how), HasSubstr("stop the old server")));
  }

  Interrupt interrupt_;
  TempFolder folder_;
  const std::string path_ = folder_.Path("old #1?%.db");
};

TEST_F(DatabaseTest, ReadsCellsAsTheyAre) {
  Server(path_).Run(kTables);
  const auto database = Read();
  ASSERT_OK(database);
  EXPECT_THAT(database->problems, IsEmpty());
  EXPECT_THAT(database->clients.columns,
              ElementsAre("ID", "name", "public_key", "last_seen", "aes_key"));
  ASSERT_THAT(database->clients.rows, SizeIs(1));
  const auto& row = database->clients.rows[0];
  EXPECT_EQ(row[0].type, Cell::Type::kText);
  EXPECT_EQ(row[0].bytes, "id");
  EXPECT_EQ(row[1].type, Cell::Type::kBlob);
  EXPECT_EQ(row[1].bytes, "name");
  EXPECT_EQ(row[2].type, Cell::Type::kInteger);
  EXPECT_EQ(row[3].type, Cell::Type::kNull);
  EXPECT_EQ(row[4].real, 1.5);
  EXPECT_THAT(database->files.rows, IsEmpty());
}

TEST_F(DatabaseTest, ReadsADatabaseThatWasInWalMode) {
  Server(path_).Run(std::string("PRAGMA journal_mode = WAL;") + kTables);
  const auto database = Read();
  ASSERT_OK(database);
  EXPECT_THAT(database->clients.rows, SizeIs(1));
}

TEST_F(DatabaseTest, RefusesOneWithChangesInItsWal) {
  Server server(path_);
  server.Run(std::string("PRAGMA journal_mode = WAL;") + kTables);
  ExpectInUse("-wal");
}

TEST_F(DatabaseTest, RefusesOneThatIsLeftWithAJournal) {
  Server(path_).Run(kTables);
  folder_.Write("old #1?%.db-journal", std::string("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8) + "...");
  ExpectInUse("-journal");
  // What is over: PRAGMA journal_mode = PERSIST, and TRUNCATE.
  folder_.Write("old #1?%.db-journal", std::string(512, '\0'));
  EXPECT_OK(Read());
  folder_.Write("old #1?%.db-journal", "");
  EXPECT_OK(Read());
}

TEST_F(DatabaseTest, RefusesWhatIsNoDatabase) {
  EXPECT_THAT(ReadDatabase(path_, interrupt_), StatusIs(absl::StatusCode::kNotFound));
  for (const char* content : {"", "SQLite", "SQLite format 2 and more than that"}) {
    folder_.Write("old #1?%.db", content);
    EXPECT_THAT(Read(), Says(absl::StatusCode::kDataLoss, HasSubstr("is no SQLite database")));
  }
  EXPECT_THAT(ReadDatabase(folder_.Path(""), interrupt_),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DatabaseTest, SaysWhichTablesAnotherDatabaseHas) {
  Server(path_).Run("CREATE TABLE songs (id)");
  EXPECT_THAT(Read(), Says(absl::StatusCode::kInvalidArgument, HasSubstr("songs")));
}

TEST_F(DatabaseTest, ReadsTablesOnlyAsAViewMayHaveNoEnd) {
  Server(path_).Run(
      "CREATE TABLE songs (id); CREATE VIEW clients AS "
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < "
      "0");
  EXPECT_THAT(Read(), Says(absl::StatusCode::kInvalidArgument, HasSubstr("no table \"clients\"")));
}

TEST_F(DatabaseTest, EndsWhenInterrupted) {
  Server(path_).Run(  // Some milliseconds for each row.
      "CREATE TABLE clients (id);"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
      "INSERT INTO clients SELECT i FROM n;"
      "ALTER TABLE clients ADD COLUMN slow AS (length(hex(zeroblob(4000000 + id))))");
  interrupt_.Request();
  const absl::Time start = absl::Now();
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(DatabaseTest, OfADamagedDatabaseReadsWhatIsLeft) {
  {
    Server server(path_);
    server.Run(kTables);
    server.Run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO clients SELECT 'id' || i, randomblob(255), 0, NULL, 0 FROM n");
  }
  const std::string whole = Bytes("old #1?%.db");
  std::string damaged = whole;
  damaged.replace(whole.size() / 2, 20'000, std::string(20'000, '\xA5'));
  folder_.Write("old #1?%.db", damaged);
  const auto database = Read();
  ASSERT_OK(database);
  EXPECT_FALSE(database->problems.empty());
  EXPECT_GT(database->clients.rows.size(), 0u);
  EXPECT_LT(database->clients.rows.size(), 2001u);
  // Without its schema nothing is left.
  damaged = whole.substr(0, 100) + std::string(whole.size() - 100, '\xA5');
  folder_.Write("old #1?%.db", damaged);
  EXPECT_THAT(Read(), Says(absl::StatusCode::kDataLoss, HasSubstr(".recover")));
}

}  // namespace
}  // namespace backup::ctl::old_server
