// The unary RPCs of CatalogService.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/delete_client.h"
#include "services/backup/handlers/get_client.h"
#include "services/backup/handlers/get_version.h"
#include "services/backup/handlers/list_clients.h"
#include "services/backup/handlers/list_files.h"
#include "services/backup/handlers/list_versions.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using ::testing::IsEmpty;
using testing::KnownClient;
using testing::MemoryService;
using ::testing::SizeIs;

constexpr char kNobody[] = "11111111-2222-4333-8444-555555555555";

class QueriesTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::ListFilesResponse> Files(const std::string& id, int page_size,
                                              const std::string& token) {
    v1::ListFilesRequest request;
    request.set_client_id(id);
    request.set_page_size(page_size);
    request.set_page_token(token);
    return service_.Read(ListFiles, request);
  }
  absl::StatusOr<v1::ListVersionsResponse> Versions(const std::string& file_name, int page_size,
                                                    const std::string& token) {
    v1::ListVersionsRequest request;
    request.set_client_id(client_.id);
    request.set_file_name(file_name);
    request.set_page_size(page_size);
    request.set_page_token(token);
    return service_.Read(ListVersions, request);
  }
  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(QueriesTest, ListsEveryClientOncePageByPage) {
  for (int i = 0; i < 6; ++i) service_.Register(absl::StrCat("client-", i));
  std::vector<std::string> ids;
  v1::ListClientsRequest request;
  request.set_page_size(3);
  do {
    const auto page = service_.Read(ListClients, request);
    ASSERT_OK(page);
    ASSERT_LE(page->clients_size(), 3);
    for (const v1::Client& client : page->clients()) ids.push_back(client.client_id());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(ids, SizeIs(7));
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
}

TEST_F(QueriesTest, ListsFilesAsTextInTheOrderOfTheirBytes) {
  for (const char* name : {"b", "a%FF", "a", "c:\\x"}) service_.Store(client_.id, name, "x");
  const auto first = Files(client_.id, 3, "");
  ASSERT_OK(first);
  const auto rest = Files(client_.id, 3, first->next_page_token());
  ASSERT_OK(rest);
  ASSERT_EQ(first->files_size(), 3);
  EXPECT_EQ(first->files(0).file_name(), "a");
  EXPECT_EQ(first->files(1).file_name(), "a%FF");
  EXPECT_EQ(first->files(2).file_name(), "b");
  ASSERT_EQ(rest->files_size(), 1);
  EXPECT_EQ(rest->files(0).file_name(), "c:\\x");
  EXPECT_THAT(rest->next_page_token(), IsEmpty());
}

TEST_F(QueriesTest, ListsVersionsNewestFirst) {
  std::vector<int64_t> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(service_.Store(client_.id, "file", "x"));
  const auto first = Versions("file", 2, "");
  ASSERT_OK(first);
  const auto rest = Versions("file", 2, first->next_page_token());
  ASSERT_OK(rest);
  ASSERT_EQ(first->versions_size(), 2);
  EXPECT_EQ(first->versions(0).version_id(), ids[2]);
  EXPECT_EQ(first->versions(1).version_id(), ids[1]);
  ASSERT_EQ(rest->versions_size(), 1);
  EXPECT_EQ(rest->versions(0).version_id(), ids[0]);
}

TEST_F(QueriesTest, RefusesATokenOfAnotherListAndANegativePageSize) {
  service_.Store(client_.id, "a", "x");
  service_.Store(client_.id, "b", "x");
  const std::string token = Files(client_.id, 1, "")->next_page_token();
  ASSERT_FALSE(token.empty());
  EXPECT_THAT(Files(service_.Register("other"), 1, token), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Versions("a", 1, token), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Files(client_.id, 1, "!!"), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Files(client_.id, -1, ""), HasReason(Reason::kInvalidField));
}

TEST_F(QueriesTest, FindsAClientByIdOrByName) {
  v1::GetClientRequest by_id;
  by_id.set_client_id(client_.id);
  EXPECT_EQ(service_.Read(GetClient, by_id)->client().name(), "laptop");
  v1::GetClientRequest by_name;
  by_name.set_name("laptop");
  EXPECT_EQ(service_.Read(GetClient, by_name)->client().client_id(), client_.id);
  EXPECT_TRUE(service_.Read(GetClient, by_name)->client().has_public_key());
  by_name.set_name("unknown");
  EXPECT_THAT(service_.Read(GetClient, by_name), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(service_.Read(GetClient, v1::GetClientRequest()), HasReason(Reason::kInvalidField));
}

TEST_F(QueriesTest, TellsWhenAClientWasLastBackedUp) {
  v1::GetClientRequest request;
  request.set_client_id(client_.id);
  EXPECT_FALSE(service_.Read(GetClient, request)->client().has_last_verified_time());
  service_.Store(client_.id, "file", "x");
  EXPECT_EQ(service_.Read(GetClient, request)->client().last_verified_time().seconds(),
            absl::ToUnixSeconds(service_.clock.Now()));
}

TEST_F(QueriesTest, DescribesOneVersion) {
  const int64_t id = service_.Store(client_.id, "file", "content");
  v1::GetVersionRequest request;
  request.set_client_id(client_.id);
  request.set_file_name("file");
  const auto found = service_.Read(GetVersion, request);
  ASSERT_OK(found);
  EXPECT_EQ(found->version().version_id(), id);
  EXPECT_EQ(found->version().state(), v1::FileVersion::VERIFIED);
  EXPECT_EQ(found->version().size_bytes(), 7);
  EXPECT_THAT(found->version().sha256(), SizeIs(32));
  request.set_version_id(id + 1);
  EXPECT_THAT(service_.Read(GetVersion, request), HasReason(Reason::kVersionNotFound));
}

// The pack goes when the repack job has its turn.
TEST_F(QueriesTest, DeletesOneVersionWithItsContentAndRefusesVersionZero) {
  service_.uploads.inline_blob_limit = 0;
  const int64_t id = service_.Store(client_.id, "file", "content");
  EXPECT_THAT(service_.Delete(client_.id, "file", 0), HasReason(Reason::kInvalidField));
  EXPECT_THAT(service_.Delete(client_.id, "file", id + 1), HasReason(Reason::kVersionNotFound));
  EXPECT_EQ(service_.Count().chunks, 1);
  EXPECT_OK(service_.Delete(client_.id, "file", id));
  EXPECT_EQ(service_.Count().chunks, 0);
  EXPECT_EQ(service_.Count().pack_live_bytes, 0);
  EXPECT_THAT(service_.Delete(client_.id, "file", id), HasReason(Reason::kFileNotFound));
}

TEST_F(QueriesTest, DeletesAClientWithAllItsContent) {
  service_.uploads.inline_blob_limit = 0;
  service_.Store(client_.id, "a", "x");
  service_.Store(client_.id, "b", "x");
  v1::DeleteClientRequest request;
  request.set_client_id(client_.id);
  EXPECT_OK(service_.DeleteClient(request));
  EXPECT_EQ(service_.Count().chunks, 0);
  EXPECT_EQ(service_.Count().pack_live_bytes, 0);
  EXPECT_THAT(service_.DeleteClient(request), HasReason(Reason::kClientNotFound));
  request.set_client_id(kNobody);
  EXPECT_THAT(service_.DeleteClient(request), HasReason(Reason::kClientNotFound));
}

TEST_F(QueriesTest, DeletesAClientThatHasMoreThanOneTransactionDeletes) {
  constexpr int kStep = storage::Transaction::kMaxDeletedVersions;
  for (const int versions : {kStep, kStep + 1}) {
    const std::string id = service_.Register(absl::StrCat("of ", versions));
    for (int i = 0; i < versions; ++i) service_.Store(id, "a", "x");
    v1::DeleteClientRequest request;
    request.set_client_id(id);
    EXPECT_OK(service_.DeleteClient(request));
    EXPECT_THAT(service_.DeleteClient(request), HasReason(Reason::kClientNotFound));
  }
}

}  // namespace
}  // namespace backup::handlers
