#include "services/backup/catalog_location.h"

#include <fstream>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;

constexpr char kConninfo[] = "postgres://backup@db.example/backup?passfile=/etc/pgpass";
constexpr char kPassword[] = "correct-horse";

void WriteLocation(const std::string& folder, const std::string& text) {
  std::ofstream(absl::StrCat(folder, "/", kCatalogLocationName)) << text;
}

TEST(CatalogOptions, AreWhatLibpqTakes) {
  for (const char* const conninfo :
       {"", kConninfo, "postgresql:///backup?host=/run/postgresql", "service=backup",
        "host=a,b port=5432,5433 dbname=backup target_session_attrs=read-write"})
    EXPECT_OK(CheckCatalogOptions({conninfo}));
  for (const char* const conninfo : {"sqlite:catalog.db", "postgres", "nonsense=1", "host=a\nb"})
    EXPECT_THAT(CheckCatalogOptions({conninfo}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CatalogOptions, HaveNoPasswordAndShowNone) {
  for (const std::string& conninfo :
       {absl::StrCat("postgres://backup:", kPassword, "@db.example/backup"),
        absl::StrCat("postgres://db.example/backup?password=", kPassword),
        absl::StrCat("postgres://db.example/backup?pass%77ord=", kPassword),
        absl::StrCat("host=db.example password=", kPassword),
        absl::StrCat("host=db.example password = '", kPassword, "'"),
        absl::StrCat("host=db.example sslpassword=", kPassword)}) {
    const absl::Status checked = CheckCatalogOptions({conninfo});
    EXPECT_THAT(checked.message(), AllOf(HasSubstr("passfile="), Not(HasSubstr(kPassword))))
        << conninfo;
  }
}

TEST(CatalogLocation, IsWhatWasJoined) {
  const storage::TempFolder folder;
  EXPECT_THAT(FindCatalogLocation(folder.path()), IsOkAndHolds(std::nullopt));
  EXPECT_OK(CheckCatalogIsHere(folder.path()));
  storage::MemoryCatalog catalog;
  ASSERT_OK(JoinCatalog(folder.path(), kConninfo, catalog));
  const absl::StatusOr<std::optional<std::string>> id = FindCatalogId(catalog);
  ASSERT_OK(id);
  EXPECT_THAT(FindCatalogLocation(folder.path()), IsOkAndHolds(CatalogLocation{kConninfo, **id}));
  EXPECT_THAT(CheckCatalogIsHere(folder.path()), StatusIs(absl::StatusCode::kFailedPrecondition));
  // The way there may change, the catalog not.
  ASSERT_OK(JoinCatalog(folder.path(), "service=backup", catalog));
  EXPECT_THAT(FindCatalogLocation(folder.path()),
              IsOkAndHolds(CatalogLocation{"service=backup", **id}));
}

TEST(CatalogLocation, IsRefusedIfItIsNotWhole) {
  const storage::TempFolder folder;
  for (const char* const text : {"", "service=backup", "service=backup\n", "service=backup\n0123\n",
                                 "\n00000000000000000000000000000000\n"}) {
    WriteLocation(folder.path(), text);
    EXPECT_THAT(FindCatalogLocation(folder.path()), StatusIs(absl::StatusCode::kFailedPrecondition))
        << text;
  }
}

TEST(CatalogLocation, FitsItsOwnCatalogAlone) {
  const storage::TempFolder folder;
  storage::MemoryCatalog catalog;
  EXPECT_OK(CheckIsOfCatalog(std::nullopt, /*has_data=*/false, catalog));
  EXPECT_THAT(CheckIsOfCatalog(std::nullopt, /*has_data=*/true, catalog),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK(JoinCatalog(folder.path(), kConninfo, catalog));
  const std::optional<CatalogLocation> said = *FindCatalogLocation(folder.path());
  EXPECT_OK(CheckIsOfCatalog(said, /*has_data=*/true, catalog));
  storage::MemoryCatalog empty;
  EXPECT_THAT(CheckIsOfCatalog(said, /*has_data=*/false, empty),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK(JoinCatalog(storage::TempFolder().path(), kConninfo, empty));
  EXPECT_THAT(CheckIsOfCatalog(said, /*has_data=*/false, empty),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace backup
