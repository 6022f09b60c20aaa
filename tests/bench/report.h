#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/bare_echo.h"
#include "tests/bench/catalog_load.h"
#include "tests/bench/crowd.h"
#include "tests/bench/figures.h"
#include "tests/bench/generations.h"
#include "tests/bench/housekeeping.h"
#include "tests/bench/large_catalog.h"
#include "tests/bench/large_file.h"
#include "tests/bench/physical_limits.h"
#include "tests/bench/prepared_load.h"
#include "tests/bench/repacking.h"
#include "tests/bench/restore.h"
#include "tests/bench/session_load.h"

// What was measured as figures, each beside its limit and its target (docs/performance.md).
namespace backup::bench {

std::vector<Figure> ReportLimits(const PhysicalLimits& limits);
// `group` says what was sent.
std::vector<Figure> ReportLargeFile(const std::string& group, const LargeFileResult& result,
                                    const PhysicalLimits& limits);
std::vector<Figure> ReportPreparedFile(const std::string& group, const PreparedLoadResult& result,
                                       const PhysicalLimits& limits);
// Of several clients; `single` is one client's.
std::vector<Figure> ReportPreparedLoad(const std::string& group, const PreparedLoadResult& result,
                                       const PreparedLoadResult& single);
// `limit` in MB/s, if there is one.
std::vector<Figure> ReportRestore(const std::string& group, const RestoreResult& result,
                                  std::optional<double> limit);
// Of the same upload to our service and to others, by name: speeds in MB/s.
std::vector<Figure> ReportComparison(const std::string& group, double ours,
                                     const std::map<std::string, double>& others);
std::vector<Figure> ReportSessions(int clients, const SessionLoadResult& result,
                                   const PhysicalLimits& limits);
// Beside what is the least that they would take, and which part takes more than that.
std::vector<Figure> ReportAgainstBare(int clients, const SessionLoadResult& ours,
                                      const BareEchoResult& bare);
std::vector<Figure> ReportCatalogLoad(int clients, const CatalogLoadResult& result);
std::vector<Figure> ReportIdleCrowd(int connections, const IdleCrowdResult& result);
std::vector<Figure> ReportSlowCrowd(int uploads, const SlowCrowdResult& result);
std::vector<Figure> ReportFairness(const FairnessResult& result);
// `number` of `count`, from 1.
std::vector<Figure> ReportGeneration(int number, int count, const GenerationResult& result);
std::vector<Figure> ReportSmallFiles(const SmallFilesResult& result);
// New content, the same again, and, if there are such, new content by earlier programs.
std::vector<Figure> ReportKnownContent(const std::string& group, const PreparedLoadResult& fresh,
                                       const PreparedLoadResult& known,
                                       const std::optional<PreparedLoadResult>& earlier);
std::vector<Figure> ReportRepacking(const RepackingResult& result);
std::vector<Figure> ReportRetention(int64_t versions, const RetentionResult& result);
std::vector<Figure> ReportScrub(const ScrubResult& result);
std::vector<Figure> ReportSnapshot(const SnapshotResult& result);
std::vector<Figure> ReportLargeCatalog(int64_t versions, const LargeCatalogResult& result);
std::vector<Figure> ReportChunkCatalog(int64_t chunks, const LargeCatalogResult& result,
                                       const ChunkLookupResult& lookups);

}  // namespace backup::bench
