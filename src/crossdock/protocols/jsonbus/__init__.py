"""json-bus: requests, jobs and their answers over RabbitMQ.

Read ``messages``, ``bus`` and ``topology`` first: what is said, through which port, and over which queues. Then take the
role you came for. The first two groups serve the others, the first also the second. Roles know nothing of one another, but
for one word: ``backend_jobs`` takes from ``worker_jobs`` how a worker is told the kind of a job.

Messages, and where they go, as values:
    ``messages``              the five messages and what is none
    ``codec``                 between bodies and messages; ``reading`` and ``writing`` are its halves
    ``json_text``             JSON as text: members, depth, lists that PHP made objects of
    ``payloads``              params and data as the payload of a job, and back
    ``result_reference``      what stands for data that are too large for a message
    ``letters``               messages with the properties and headers of AMQP
    ``hops``                  how many nodes a request has passed
    ``schemas``               the messages as JSON Schemas; ``schema_routes`` serves them
    ``bus``                   RabbitMQ as a port, which all others use
    ``topology``              exchanges, queues and bindings as data
    ``names``                 of queues and routing keys
    ``options``               what can be set
    ``address``               addresses of brokers as people write them

RabbitMQ; no other group knows the AMQP library:
    ``connection``            implements the port with two links
    ``link``                  one connection that comes back; ``connection_session`` decides when
    ``transport``             its bytes; ``sorting`` takes deliveries out of them, ``properties`` reads what these have
    ``declaring``             declares what has to be there
    ``publishing``            publishes and waits for confirms; ``outlet`` is its channel, ``frames`` its bytes
    ``consuming``             subscriptions; ``channel_consumer`` is one on its channel, ``settling`` its acknowledgements
    ``complaints``            errors of RabbitMQ, made advice
    ``inspection``            looks at a broker for ``crossdock doctor``; ``policies`` are what it advises
    ``patient_publisher``     publishing that outlasts the broker
    ``burials``               dead letters that say why they are

A node, which takes requests and answers them:
    ``frontend``              takes requests in; ``frontend_session`` decides about each
    ``caching``               one job for each request, however often it comes
    ``asker``                 who is answered, and where
    ``answers``               publishes what the outbox owes; ``endings`` are its letters
    ``references``            URLs of large results, and the route behind them

Runners, which give jobs to others and wait for what comes back:
    ``kinds``                 the kinds of jobs that they run
    ``backend``               to workers behind a jobs queue; ``backend_jobs`` are its letters, and what results say
    ``node_runner``           to other nodes; ``collecting`` fetches large data of their answers
    ``pieces``                a lease as jobs or members of an array
    ``pushing``               sends until it is confirmed
    ``sent_records``          what was sent, on disk
    ``waiting``               gives what comes back to whoever waits for it; ``return_queue`` is where it comes from

A worker at a jobs queue, ours or PHP's:
    ``worker``                implements the port ``Dispatch``; ``worker_session`` decides when a delivery is settled
    ``worker_source``         which queue jobs come from
    ``worker_jobs``           jobs and results as a worker understands them
    ``worker_address``        the address after ``--connect``

Clients: ``client``, in asyncio and blocking.
"""
