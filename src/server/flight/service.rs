//! Each call of the Flight service to what answers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty, FlightData,
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult,
    SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use tokio::sync::watch;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::encode::{Encoder, cut, schema_bytes};
use super::login::{Caller, Gate};
use super::metadata;
use super::prepared::{Prepared, refused_update, schema_of, single};
use super::results::{Promised, flight_info, id_of, redeem};
use super::status::status;
use super::store::Store;
use super::stream::{Stop, send, shutting_down};
use crate::error::{Error, Result, SqlState};
use crate::io::Clock;
use crate::session::{Connection, Database, Login, NAME, Notice, SlowClients};
use crate::settings::FlightSettings;

/// A header `tidemark-set-statement-timeout: 5s` sets `statement_timeout` for its call.
const SET_PREFIX: &str = "tidemark-set-";
/// Notices of a query, one entry each.
const NOTICE: &str = "tidemark-notice-bin";

const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const CANCEL_QUERY: &str = "CancelQuery";
const ACTIONS: [(&str, &str); 4] = [
    (
        CREATE_PREPARED_STATEMENT,
        "Prepares a query; answers with its handle, and the schemas of its result and parameters.",
    ),
    (CLOSE_PREPARED_STATEMENT, "Forgets a prepared statement."),
    (CANCEL_FLIGHT_INFO, "Ends a query and all streams that read it."),
    (CANCEL_QUERY, "The older form of CancelFlightInfo."),
];

pub(super) struct Service {
    database: Arc<dyn Database>,
    gate: Arc<Gate>,
    results: Arc<Store<Promised>>,
    prepared: Store<Prepared>,
    settings: FlightSettings,
    slow: Arc<SlowClients>,
    shutdown: watch::Receiver<bool>,
}

/// Parts of a request that say who asks, and how.
struct Asked {
    metadata: MetadataMap,
    extensions: Extensions,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages = BoxStream<'static, Result<FlightData, Status>>;

impl Service {
    pub fn new(
        database: Arc<dyn Database>,
        gate: Arc<Gate>,
        settings: FlightSettings,
        clock: &Arc<dyn Clock>,
        slow: Arc<SlowClients>,
        shutdown: watch::Receiver<bool>,
    ) -> Service {
        let results = Store::new("results", settings.results_max, settings.result_age_ms, clock.clone());
        let prepared =
            Store::new("prepared statements", settings.prepared_statements_max, settings.session_age_ms, clock.clone());
        Service { database, gate, results: Arc::new(results), prepared, settings, slow, shutdown }
    }

    pub fn sweep(&self) {
        self.results.sweep();
        self.prepared.sweep();
    }

    /// Lets go what clients left behind, at the end.
    pub fn forget(&self) {
        self.results.clear();
        self.prepared.clear();
    }

    /// A session for one call.
    async fn session(&self, asked: &Asked) -> Result<Box<dyn Connection>> {
        if *self.shutdown.borrow() {
            return Err(shutting_down());
        }
        let caller = caller(&asked.extensions)?;
        let agent = asked.metadata.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let login = Login {
            user: caller.user.clone(),
            database: NAME.to_owned(),
            peer: caller.peer,
            application_name: agent.to_owned(),
            startup: settings(&asked.metadata)?,
        };
        self.database.connect(login).await
    }

    async fn answer_handshake(&self, extensions: &Extensions, metadata: MetadataMap) -> Result<String> {
        // A user who does not exist gets no token.
        self.session(&Asked { metadata, extensions: extensions.clone() }).await?;
        self.gate.issue(caller(extensions)?)
    }

    async fn promise(&self, descriptor: FlightDescriptor, asked: &Asked) -> Result<(FlightInfo, Vec<Notice>)> {
        match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                let sql = statement_text(query)?;
                let mut session = self.session(asked).await?;
                let statement = single(session.parse(&sql)?)?;
                let held = session.hold(&statement, Vec::new()).await?;
                self.promised(Promised::new(held), descriptor, session)
            }
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared(&query)?;
                let mut session = self.session(asked).await?;
                let held = session.hold(&prepared.statement, prepared.bound()?).await?;
                self.promised(Promised::new(held), descriptor, session)
            }
            other => {
                let schema = metadata::schema(&other).ok_or_else(|| refused(&other))?;
                let ticket = Ticket::new(descriptor.cmd.clone());
                let info = FlightInfo::new()
                    .try_with_schema(&schema)?
                    .with_descriptor(descriptor)
                    .with_ordered(true)
                    .with_endpoint(FlightEndpoint::new().with_ticket(ticket));
                Ok((info, Vec::new()))
            }
        }
    }

    fn promised(
        &self,
        promised: Promised,
        descriptor: FlightDescriptor,
        mut session: Box<dyn Connection>,
    ) -> Result<(FlightInfo, Vec<Notice>)> {
        let promised = Arc::new(promised);
        let id = self.results.put(promised.clone())?;
        Ok((flight_info(id, &promised, descriptor)?, session.take_notices()))
    }

    fn prepared(&self, query: &CommandPreparedStatementQuery) -> Result<Arc<Prepared>> {
        self.prepared.get(&query.prepared_statement_handle).ok_or_else(no_prepared_statement)
    }

    async fn schema(&self, descriptor: &FlightDescriptor, asked: &Asked) -> Result<SchemaResult> {
        let schema = match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                let mut session = self.session(asked).await?;
                let statement = single(session.parse(&statement_text(query)?)?)?;
                let columns = session.describe(&statement, &[]).await?.columns.ok_or_else(refused_update)?;
                Arc::new(schema_of(&columns))
            }
            Command::CommandPreparedStatementQuery(query) => self.prepared(&query)?.schema.clone(),
            other => metadata::schema(&other).ok_or_else(|| refused(&other))?,
        };
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }

    async fn read(&self, ticket: &Ticket, asked: &Asked) -> Result<Messages> {
        match command(&ticket.ticket)? {
            Command::TicketStatementQuery(ticket) => {
                let (part, promised) = redeem(&self.results, &ticket.statement_handle, self.settings.result_age_ms)?;
                let cancelled = promised.cancelled.subscribe();
                let rows = promised.query.read(part.number).await?;
                let stop = Stop { cancelled, shutdown: self.shutdown.clone(), timeout: promised.query.timeout() };
                let schema = promised.query.schema();
                let results = self.results.clone();
                let read_whole = move || {
                    if promised.was_read(part.number) {
                        results.remove(&part.id);
                    }
                };
                Ok(send(rows, schema, self.settings.batch_bytes, self.slow.clone(), stop, read_whole))
            }
            Command::CommandPreparedStatementQuery(_) => {
                Err(Error::new(SqlState::INVALID_CURSOR_NAME, "a prepared statement's handle is no ticket")
                    .with_hint("Ask with GetFlightInfo, and read the tickets of its answer."))
            }
            other => {
                let mut session = self.session(asked).await?;
                let rows = metadata::rows(session.as_mut(), other).await?;
                messages(&rows, self.settings.batch_bytes)
            }
        }
    }

    async fn put(&self, mut stream: Streaming<FlightData>) -> Result<DoPutPreparedStatementResult> {
        let first = match stream.next().await {
            Some(first) => first.map_err(|error| violation(error.message()))?,
            None => return Err(violation("an empty stream")),
        };
        let descriptor = first.flight_descriptor.clone().ok_or_else(|| violation("a stream without a descriptor"))?;
        match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared(&query)?;
                prepared.bind(stream::once(async { Ok(first) }).chain(stream)).await?;
                Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
            }
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => Err(refused_update()),
            Command::CommandStatementIngest(_) => Err(Error::not_built("loading rows over Arrow Flight")
                .with_hint("Use COPY over PostgreSQL's protocol, at the address of --listen-sql.")),
            other => Err(refused(&other)),
        }
    }

    /// The body of the answer, if it has one.
    async fn act(&self, action: &Action, asked: &Asked) -> Result<Option<Vec<u8>>> {
        match action.r#type.as_str() {
            CREATE_PREPARED_STATEMENT => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action.body)?;
                Ok(Some(self.prepare(request, asked).await?.as_any().encode_to_vec()))
            }
            CLOSE_PREPARED_STATEMENT => {
                let request: ActionClosePreparedStatementRequest = unpack(&action.body)?;
                self.prepared.remove(&request.prepared_statement_handle).ok_or_else(no_prepared_statement)?;
                Ok(None)
            }
            CANCEL_FLIGHT_INFO => {
                let request = CancelFlightInfoRequest::decode(action.body.as_ref()).map_err(malformed)?;
                let info = request.info.ok_or_else(|| violation("CancelFlightInfo without a FlightInfo"))?;
                Ok(Some(CancelFlightInfoResult::new(self.cancel(&info)).encode_to_vec()))
            }
            CANCEL_QUERY => {
                let request: ActionCancelQueryRequest = unpack(&action.body)?;
                let info = FlightInfo::decode(request.info).map_err(malformed)?;
                // Both enumerations have the same numbers.
                let result = ActionCancelQueryResult { result: self.cancel(&info) as i32 };
                Ok(Some(result.as_any().encode_to_vec()))
            }
            other => {
                Err(Error::not_built(format!("the Flight action {other}"))
                    .with_hint("ListActions tells which there are."))
            }
        }
    }

    async fn prepare(
        &self,
        request: ActionCreatePreparedStatementRequest,
        asked: &Asked,
    ) -> Result<ActionCreatePreparedStatementResult> {
        refuse_transaction(request.transaction_id.as_ref())?;
        let mut session = self.session(asked).await?;
        let prepared = Prepared::new(session.as_mut(), &request.query).await?;
        let dataset_schema = schema_bytes(&prepared.schema)?;
        let parameter_schema = schema_bytes(&prepared.parameter_schema())?;
        let id = self.prepared.put(Arc::new(prepared))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: id.to_vec().into(),
            dataset_schema,
            parameter_schema,
        })
    }

    /// What was read, or never was, has nothing to cancel.
    fn cancel(&self, info: &FlightInfo) -> CancelStatus {
        match id_of(info).and_then(|id| self.results.remove(&id)) {
            Some(promised) => {
                promised.cancelled.send_replace(true);
                CancelStatus::Cancelled
            }
            None => CancelStatus::NotCancellable,
        }
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = Messages;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = Messages;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        let (metadata, extensions, _) = request.into_parts();
        let token = self.answer_handshake(&extensions, metadata).await.map_err(|error| status(&error))?;
        let header =
            MetadataValue::try_from(format!("Bearer {token}")).map_err(|error| status(&Error::internal(error)))?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response = Response::new(stream::once(async { Ok(answer) }).boxed());
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let (asked, descriptor) = parts(request);
        let (info, notices) = self.promise(descriptor, &asked).await.map_err(|error| status(&error))?;
        let mut response = Response::new(info);
        for notice in notices {
            let text = format!("{}: {}", notice.severity, notice.message);
            response.metadata_mut().append_bin(NOTICE, MetadataValue::from_bytes(text.as_bytes()));
        }
        Ok(response)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let (asked, descriptor) = parts(request);
        self.schema(&descriptor, &asked).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Messages> {
        let (asked, ticket) = parts(request);
        self.read(&ticket, &asked).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let result = self.put(request.into_inner()).await.map_err(|error| status(&error))?;
        let result = PutResult { app_metadata: result.encode_to_vec().into() };
        Ok(Response::new(stream::once(async { Ok(result) }).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let (asked, action) = parts(request);
        let body = self.act(&action, &asked).await.map_err(|error| status(&error))?;
        let results = body.into_iter().map(|body| Ok(arrow_flight::Result::new(body)));
        Ok(Response::new(stream::iter(results).boxed()))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        let actions = ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(Response::new(stream::iter(actions).boxed()))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        Err(status(&Error::not_built("ListFlights").with_hint("Ask for tables with CommandGetTables.")))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(status(&Error::not_built("PollFlightInfo").with_hint("Use GetFlightInfo: it does not wait for the query.")))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        Err(status(&Error::not_built("DoExchange").with_hint("Use DoGet.")))
    }
}

fn parts<T>(request: Request<T>) -> (Asked, T) {
    let (metadata, extensions, message) = request.into_parts();
    (Asked { metadata, extensions }, message)
}

fn caller(extensions: &Extensions) -> Result<&Caller> {
    extensions.get::<Caller>().ok_or_else(|| Error::internal("a call that did not pass the gate"))
}

/// Settings that the client's headers ask for.
fn settings(metadata: &MetadataMap) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for entry in metadata.iter() {
        let tonic::metadata::KeyAndValueRef::Ascii(key, value) = entry else { continue };
        let Some(name) = key.as_str().strip_prefix(SET_PREFIX) else { continue };
        let value = value.to_str().map_err(|_| violation("a header that is no text"))?;
        settings.insert(name.replace('-', "_"), value.to_owned());
    }
    Ok(settings)
}

fn command(bytes: &[u8]) -> Result<Command> {
    let message = Any::decode(bytes).map_err(malformed)?;
    Command::try_from(message).map_err(|error| violation(&error.to_string()))
}

/// An action's request.
fn unpack<M: ProstMessageExt>(body: &[u8]) -> Result<M> {
    let message = Any::decode(body).map_err(malformed)?;
    let unpacked = message.unpack().map_err(|error| violation(&error.to_string()))?;
    unpacked.ok_or_else(|| violation(&format!("{} does not fit the action", message.type_url)))
}

fn statement_text(query: CommandStatementQuery) -> Result<String> {
    refuse_transaction(query.transaction_id.as_ref())?;
    Ok(query.query)
}

fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<()> {
    match id {
        None => Ok(()),
        Some(_) => Err(Error::not_built("a transaction over Arrow Flight")
            .with_hint("Each query reads one commit; use PostgreSQL's protocol for transactions.")),
    }
}

fn refused(command: &Command) -> Error {
    let name = command.type_url().rsplit(['.', '/']).next().unwrap_or_default().to_owned();
    Error::not_built(format!("the Flight command {name}"))
}

fn no_prepared_statement() -> Error {
    Error::new(SqlState::INVALID_STATEMENT_NAME, "no such prepared statement")
        .with_detail("It was closed, or not used for too long (flight.session_age_ms), or the server was restarted.")
        .with_hint("Prepare it again.")
}

fn violation(what: &str) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, "malformed Flight SQL message").with_detail(what)
}

fn malformed(error: prost::DecodeError) -> Error {
    violation(&error.to_string())
}

/// A stream of rows that are there already.
fn messages(rows: &RecordBatch, message_bytes: usize) -> Result<Messages> {
    let mut encoder = Encoder::new();
    let mut messages = vec![Ok(encoder.schema(&rows.schema()))];
    for part in cut(rows, message_bytes) {
        messages.push(Ok(encoder.rows(&part)?));
    }
    Ok(stream::iter(messages).boxed())
}
